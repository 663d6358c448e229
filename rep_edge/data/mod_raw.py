"""MOD's raw layout: `<run>/<node>/` with ehz.csv (100 Hz) and aud16000.csv or aud.csv (16 kHz)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.data.mod_layout import Cut
from rep_edge.data.waveform import Waveform, resampled, window_starts
from rep_edge.errors import InputError
from rep_edge.signals import Stream, WindowSpec

SEISMIC_HZ = 100.0
AUDIO_HZ = 16000.0


class Run(NamedTuple):
    """What one node heard of one run: folder and node names, and the files per modality."""

    folder: str
    node: str
    files: dict[str, Path]


def find_runs(root: Path) -> list[Run]:
    """Every `<run>/<node>` of the folder that holds ehz.csv or audio, sorted."""
    runs = []
    for node in sorted(path for path in root.glob("*/*") if path.is_dir()):
        audio = next((node / name for name in ("aud16000.csv", "aud.csv") if (node / name).is_file()), None)
        files = {"acoustic": audio} if audio else {}
        if (node / "ehz.csv").is_file():
            files["seismic"] = node / "ehz.csv"
        if files:
            runs.append(Run(node.parent.name, node.name, files))
    return runs


class RawRuns:
    """Windows cut from raw runs; every file is read once and kept in memory as float32.

    trim_s: per "<folder>/<node>", s to cut at start and end. Raises InputError for a missing or unreadable file and
    for a trim_s that names no run or leaves nothing.
    """

    def __init__(self, runs: Sequence[Run], spec: WindowSpec, trim_s: Mapping[str, tuple[float, float]]) -> None:
        self._spec = spec
        self._check_trims(runs, trim_s)
        self.report: list[str] = []
        self._waveforms: dict[tuple[str, str], dict[str, Waveform]] = {}
        self.cuts: list[Cut] = []
        for run in runs:
            waveforms = {m.name: _load(run, m) for m in spec.streams}
            self._waveforms[run.folder, run.node] = waveforms
            first, last = trim_s.get(f"{run.folder}/{run.node}", (0.0, 0.0))
            length = min(waveform.duration_s for waveform in waveforms.values())
            starts = window_starts(first, length - last, spec.window_s, spec.hop_s)
            if not starts:
                raise InputError(
                    f"{run.folder}/{run.node}: {length:.1f} s less trim_s ({first:g}, {last:g}) leave no window of "
                    f"{spec.window_s:g} s; mend trim_s or remove the folder"
                )
            self.cuts.extend(Cut(run.folder, run.node, start) for start in starts)
        if not trim_s:
            self.report.append("trim_s is not set: the noise before and after the runs is used as if it were the class")

    def values(self, index: int, label: int) -> dict[str, NDArray[np.float32]]:
        """Per modality, float32 [1, samples]."""
        folder, node, start_s = self.cuts[index]
        waveforms = self._waveforms[folder, node]
        return {m.name: waveforms[m.name].window(m, start_s) for m in self._spec.streams}

    def published(self) -> tuple[list[int], list[int], list[int]]:
        """Raises InputError: the index files name preprocessed windows."""
        raise InputError(
            "data.split published: needs the preprocessed windows and their index files, this folder holds raw runs; "
            "set split: run"
        )

    def _check_trims(self, runs: Sequence[Run], trim_s: Mapping[str, tuple[float, float]]) -> None:
        known = {f"{run.folder}/{run.node}" for run in runs}
        for name, (first, last) in trim_s.items():
            if name not in known:
                raise InputError(f"data.trim_s: {name} is no <run>/<node> of the seven classes here; mend the name")
            if not (0 <= first < float("inf") and 0 <= last < float("inf")):
                raise InputError(f"data.trim_s: {name} has ({first}, {last}); give two times of at least 0 s")


def _load(run: Run, modality: Stream) -> Waveform:
    """One sensor of one node at its modality's rate; the first column of the file."""
    if modality.name not in run.files:
        wanted = "ehz.csv" if modality.name == "seismic" else "aud16000.csv or aud.csv"
        raise InputError(f"{run.folder}/{run.node}: has no {wanted}; add it or remove the folder")
    if modality.channels != 1:
        raise InputError(f"modality {modality.name}: MOD has one channel, not {modality.channels}; set channels: 1")
    path = run.files[modality.name]
    delimiter, rate_hz = (" ", SEISMIC_HZ) if modality.name == "seismic" else (",", AUDIO_HZ)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # An empty file is an error below, not a warning.
            column: NDArray[np.float64] = np.loadtxt(path, delimiter=delimiter, usecols=0, ndmin=1)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]}); copy the file again") from error
    if not len(column):
        raise InputError(f"{path}: the file is empty; copy it again or remove the folder")
    if not np.isfinite(column).all():
        raise InputError(f"{path}: holds NaN or infinite samples; mend the file or remove the folder")
    return resampled(Waveform(column[None].astype(np.float32), rate_hz), modality.rate_hz)
