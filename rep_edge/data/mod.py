"""FOCAL's MOD as it lies on a user's disk: raw runs or preprocessed windows, whichever the folder holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rep_edge.config import ModData
from rep_edge.data.mod_layout import LABELS, LEFT_OUT, Cut, class_of
from rep_edge.data.mod_raw import RawRuns, find_runs
from rep_edge.data.mod_windows import StoredWindows, find_windows
from rep_edge.data.waveform import listed
from rep_edge.data.windows import Window
from rep_edge.errors import InputError
from rep_edge.signals import WindowSpec

Indices = NDArray[np.int64]

_RUNS_FOR_A_SPLIT = 3


class Source(Protocol):
    """One of the two layouts on disk."""

    @property
    def cuts(self) -> Sequence[Cut]: ...
    @property
    def report(self) -> Sequence[str]: ...
    def values(self, index: int, label: int) -> dict[str, NDArray[np.float32]]: ...
    def published(self) -> tuple[list[int], list[int], list[int]]: ...


class ModDataset:
    """MOD windows: modalities "acoustic" (MOD's audio, 8 kHz) and "seismic" (100 Hz), or one of them.

    Raw runs are cut every spec.hop_s; preprocessed windows are taken as they are, 2 s long. The recording of a window
    is its run folder, so that the nodes that heard one run never stand on both sides of a split. `report` says for
    people what was found and left out. Raises InputError for a folder, file or class that cannot be used, and where
    split: published finds no index file, or one that names a window that is not there.
    """

    def __init__(self, config: ModData, spec: WindowSpec) -> None:
        self.spec = spec
        self.name = "mod"
        self.labels = LABELS
        root = Path(config.root)
        if not root.is_dir():
            raise InputError(f"{root}: there is no such folder; data.root names the folder of MOD")
        unknown = [name for name in spec.names if name not in ("acoustic", "seismic")]
        if unknown:
            raise InputError(f"modality {unknown[0]}: MOD has acoustic and seismic; change signals.modalities")
        self._root = root
        self._report: list[str] = []
        self._source = self._open(config)
        self._report.extend(self._source.report)
        classes = [class_of(cut.folder) for cut in self._source.cuts]
        self.targets: NDArray[np.int64] = np.array([c for c in classes if c is not None], dtype=np.int64)
        self.recordings = tuple(cut.folder for cut in self._source.cuts)
        self._split: tuple[Indices, Indices, Indices] | None = None
        if config.split == "published":
            train, validation, test = (np.array(part, dtype=np.int64) for part in self._source.published())
            self._split = train, validation, test
        self._report_classes(config.split)

    @property
    def report(self) -> tuple[str, ...]:
        """Lines for people."""
        return tuple(self._report)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Window:
        label = int(self.targets[index])
        cut = self._source.cuts[index]
        return Window(self._source.values(index, label), label, cut.folder, cut.start_s)

    def published_split(self) -> tuple[Indices, Indices, Indices] | None:
        """Windows of training, validation and test as train_index.txt, val_index.txt and test_index.txt name them.

        Matched by file name. None where the configuration says split: run.
        """
        return self._split

    def _open(self, config: ModData) -> Source:
        """The layout that the folder holds."""
        windows = find_windows(self._root)
        if windows is not None:
            stored = [path for path in windows if self._wanted(path.stem.rsplit("_", 2)[0])]
            if config.trim_s:
                self._report.append("trim_s is not used: preprocessed windows are cut already")
            return StoredWindows(self._root, stored, self.spec)
        runs = [run for run in find_runs(self._root) if self._wanted(run.folder)]
        if not runs:
            raise InputError(
                f"{self._root}: holds neither raw runs (<run>/<node>/ehz.csv) nor preprocessed windows (*.pt); "
                "data.root names the folder of one of them"
            )
        return RawRuns(runs, self.spec, config.trim_s)

    def _wanted(self, folder: str) -> bool:
        """True for a run of the seven classes; other folders are reported once."""
        if class_of(folder) is not None:
            return True
        why = "no part of the seven classes" if any(name in folder.lower() for name in LEFT_OUT) else "no known class"
        line = f"{folder}: {why}, left out"
        if line not in self._report:
            self._report.append(line)
        return False

    def _report_classes(self, split: str) -> None:
        counts = Counter(self.targets.tolist())
        empty = [label for number, label in enumerate(LABELS) if not counts[number]]
        if empty:
            raise InputError(f"{self._root}: class {listed(empty)} has no window; add its runs, or mend trim_s")
        runs = {label: len({r for r in set(self.recordings) if class_of(r) == n}) for n, label in enumerate(LABELS)}
        parts = [f"{label} {counts[n]} ({runs[label]})" for n, label in enumerate(LABELS)]
        self._report.append(f"{len(self)} windows, runs in brackets: {', '.join(parts)}")
        few = [label for label, number in runs.items() if number < _RUNS_FOR_A_SPLIT]
        if split == "published":
            self._report.append(
                "split published: neighbouring seconds of one run stand in training and in test, and the test windows "
                "also choose the model; its figures compare with published ones only and are too good"
            )
        elif few:
            self._report.append(
                f"fewer than {_RUNS_FOR_A_SPLIT} runs of {listed(few)}: too few to have each in training, validation "
                "and test"
            )
