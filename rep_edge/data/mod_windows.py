"""MOD's preprocessed layout: one .pt file a window (samples or two-sided spectra), and the published index files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
from numpy.typing import NDArray

from rep_edge.data.mod_layout import Cut
from rep_edge.errors import InputError
from rep_edge.signals import Stream, WindowSpec

WINDOW_S = 2.0
SEGMENTS = 10
RATES_HZ = {"acoustic": 8000.0, "seismic": 100.0}
_STORED_NAME = {"acoustic": "audio", "seismic": "seismic"}


def find_windows(root: Path) -> list[Path] | None:
    """The windows of the folder or of one sub-folder, sorted by run, node and number; None where there are none.

    Where there are time samples and spectra of the same windows, the time samples. Raises InputError where several
    folders hold windows and none of them says "time".
    """
    folders = sorted({path.parent for path in root.rglob("*.pt")})
    if len(folders) > 1 and root not in folders:
        folders = [folder for folder in folders if "time" in folder.name] or folders
        if len(folders) > 1:
            names = ", ".join(str(folder.relative_to(root)) for folder in folders)
            raise InputError(f"{root}: several folders hold windows ({names}); data.root names one of them")
    if not folders:
        return None
    folder = root if root in folders else folders[0]
    return sorted(folder.glob("*.pt"), key=_cut)


class StoredWindows:
    """Preprocessed windows, read from the disk when they are asked for.

    Spectra (two channels) are turned back into samples: they are two-sided, so the inverse DFT is exact up to rounding.
    Raises InputError for signals of another shape, names of another form and, when read, files that do not fit.
    """

    def __init__(self, root: Path, paths: Sequence[Path], spec: WindowSpec) -> None:
        for modality in spec.streams:
            _check(modality)
        self._root = root
        self._paths = list(paths)
        self._spec = spec
        self.cuts = [_cut(path) for path in self._paths]
        self.report = [f"{len(self._paths)} preprocessed windows; hop_s is not used, they are cut already"]

    def values(self, index: int, label: int) -> dict[str, NDArray[np.float32]]:
        """Per modality, float32 [1, samples]. Raises InputError where the file holds another label or shape."""
        import torch

        path = self._paths[index]
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            stored_label = int(content["label"])
            data = content["data"]["shake"]
            stored = {m.name: data[_STORED_NAME[m.name]].to(torch.float32).numpy() for m in self._spec.streams}
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise InputError(f"{path}: cannot be read, the file is damaged or no window; copy it again") from error
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise InputError(
                f"{path}: is no MOD window ({type(error).__name__}: {error}); preprocess it again"
            ) from error
        if stored_label != label:
            raise InputError(
                f"{path}: holds label {stored_label}, its name means {label}; use windows of the seven-class task"
            )
        return {m.name: _samples(path, m, stored[m.name]) for m in self._spec.streams}

    def published(self) -> tuple[list[int], list[int], list[int]]:
        """Indices of the training, validation and test windows, in the order of the index files."""
        where = {path.name: index for index, path in enumerate(self._paths)}
        train, validation, test = (self._indices(f"{part}_index.txt", where) for part in ("train", "val", "test"))
        return train, validation, test

    def _indices(self, name: str, where: dict[str, int]) -> list[int]:
        # The index files stand inside root, or beside it where root is the folder of the windows.
        found = sorted(self._root.rglob(name)) or sorted(self._root.resolve().parent.glob(f"*/{name}"))
        if len(found) != 1:
            what = "is not there" if not found else f"is there {len(found)} times"
            raise InputError(
                f"{self._root}: {name} {what}, split published needs it once; copy it there or set split: run"
            )
        lines = found[0].read_text(encoding="utf-8").split("\n")
        # The paths are those of the machine that wrote the file, which may have used either kind of slash.
        names = [line.strip().replace("\\", "/").rsplit("/", 1)[-1] for line in lines]
        for number, file in enumerate(names, start=1):
            if file and file not in where:
                raise InputError(f"{found[0]}: line {number}: there is no window {file} here; data.root must hold it")
        return [where[file] for file in names if file]


def _cut(path: Path) -> Cut:
    """Run, node and start of a window from its file name."""
    folder, node, number = ["", "", "", *path.stem.rsplit("_", 2)][-3:]
    if not (folder and number.isdecimal()):
        raise InputError(f"{path}: the name of a window is <run>_<node>_<number>.pt; remove the file")
    return Cut(folder, node, int(number) * WINDOW_S)


def _check(modality: Stream) -> None:
    rate_hz = RATES_HZ[modality.name]
    if modality.rate_hz != rate_hz or modality.samples != round(rate_hz * WINDOW_S) or modality.channels != 1:
        raise InputError(
            f"modality {modality.name}: preprocessed MOD windows have rate_hz {rate_hz:g}, samples "
            f"{rate_hz * WINDOW_S:g}, channels 1; change signals.modalities or use the raw runs"
        )


def _samples(path: Path, modality: Stream, stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [1, samples] from time samples [1, segments, n] or spectra [2, segments, n]."""
    name, shape = _STORED_NAME[modality.name], (SEGMENTS, modality.samples // SEGMENTS)
    if stored.shape not in ((1, *shape), (2, *shape)):
        wanted = f"[1 or 2, {shape[0]}, {shape[1]}]"
        raise InputError(f"{path}: {name} has shape {list(stored.shape)}, not {wanted}; preprocess it again")
    if not np.isfinite(stored).all():
        raise InputError(f"{path}: {name} holds NaN or infinite samples; remove the window")
    segments = np.fft.ifft(stored[0] + 1j * stored[1], axis=-1).real if len(stored) == 2 else stored[0]
    values: NDArray[np.float32] = np.ascontiguousarray(segments.reshape(1, -1), dtype=np.float32)
    return values
