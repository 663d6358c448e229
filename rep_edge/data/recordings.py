"""A folder of one's own recordings as windows: files per modality, labels.csv, one report of what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.config import RecordingsData
from rep_edge.data.annotations import Interval, read_labels
from rep_edge.data.audio import AUDIO_SUFFIXES, read_audio
from rep_edge.data.seismogram import SEISMOGRAM_SUFFIXES, read_seismogram
from rep_edge.data.waveform import Waveform, drift_s, listed, resampled, window_starts
from rep_edge.data.windows import Window
from rep_edge.errors import InputError
from rep_edge.signals import Stream, WindowSpec

SUFFIXES = (*AUDIO_SUFFIXES, *SEISMOGRAM_SUFFIXES)

REPORTED_DRIFT_S = 0.01
"""Time errors of resampling above this many s are reported."""


class _Cut(NamedTuple):
    """Where a window lies."""

    recording: str
    start_s: float
    label: str


class RecordingsDataset:
    """Windows cut from `root/<modality>/<recording>.<wav|flac|mseed|ms|miniseed>` by `root/labels.csv`.

    Every file is decoded once, resampled to its modality's rate and kept in memory as float32. 0 s of a recording is
    the first sample of each of its files. Windows lie inside one labelled interval entirely; those that touch a gap
    of any modality are left out. `labels` are the names in labels.csv, sorted. `report` says for people what was
    resampled, where the gaps are, what was left out and how many windows each label has.

    Raises InputError for a folder, a file or a label that cannot be used as it is.
    """

    def __init__(self, config: RecordingsData, spec: WindowSpec) -> None:
        self._root = Path(config.root)
        self.spec = spec
        self.name = f"recordings {self._root.resolve().name}"
        self._report: list[str] = []
        files = self._find_files()
        intervals = read_labels(self._root / "labels.csv", sorted(set().union(*files.values())))
        paths = self._match(files, intervals)
        self._waveforms = {name: self._load(found) for name, found in paths.items()}
        self._report_loading(paths)
        self._cuts = self._cut(intervals)
        self.labels = tuple(sorted({interval.label for interval in intervals}))
        self.targets: NDArray[np.int64] = np.array([self.labels.index(cut.label) for cut in self._cuts], dtype=np.int64)
        self.recordings = tuple(cut.recording for cut in self._cuts)
        self._report_labels()

    @property
    def report(self) -> tuple[str, ...]:
        """Lines for people."""
        return tuple(self._report)

    def __len__(self) -> int:
        return len(self._cuts)

    def __getitem__(self, index: int) -> Window:
        cut = self._cuts[index]
        waveforms = self._waveforms[cut.recording]
        values = {m.name: waveforms[m.name].window(m, cut.start_s) for m in self.spec.streams}
        return Window(values, int(self.targets[index]), cut.recording, cut.start_s)

    def _find_files(self) -> dict[str, dict[str, Path]]:
        """Modality -> recording -> file. Files of other kinds are left alone unless a label asks for them."""
        if not self._root.is_dir():
            raise InputError(f"{self._root}: there is no such folder; data.root names the folder with labels.csv")
        files: dict[str, dict[str, Path]] = {}
        for name in self.spec.names:
            folder = self._root / name
            if not folder.is_dir():
                raise InputError(f"{folder}: there is no such folder; put the recordings of modality {name} there")
            files[name] = {}
            for path in sorted(folder.iterdir()):
                if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                    continue
                if path.stem in files[name]:
                    raise InputError(f"{path}: {files[name][path.stem].name} is the same recording; keep one of them")
                files[name][path.stem] = path
            if not files[name] and not any(folder.iterdir()):
                raise InputError(f"{folder}: is empty; put the recordings of modality {name} there ({_kinds()})")
        return files

    def _match(
        self, files: Mapping[str, Mapping[str, Path]], intervals: Sequence[Interval]
    ) -> dict[str, dict[str, Path]]:
        """Recording -> modality -> file, for every labelled recording; training needs every modality of each."""
        known = set().union(*files.values())
        matched: dict[str, dict[str, Path]] = {}
        for interval in intervals:
            for name, found in files.items():
                if interval.recording not in found:
                    raise self._absent(interval, name, interval.recording in known)
            matched[interval.recording] = {name: found[interval.recording] for name, found in files.items()}
        unused = sorted(known - set(matched))
        if unused:
            self._report.append(f"{_count(len(unused), 'recording')} without a label left out: {listed(unused)}")
        return matched

    def _absent(self, interval: Interval, modality: str, elsewhere: bool) -> InputError:
        """The error for a recording that has no readable file of a modality."""
        recording, folder = interval.recording, self._root / modality
        for path in sorted(folder.iterdir()):
            if path.stem == recording or path.name == recording:
                kind = path.suffix.lower()
                if kind in SUFFIXES:
                    return InputError(
                        f"{self._root / 'labels.csv'}: line {interval.line}, recording: write {path.stem}, "
                        f"the name without {path.suffix}"
                    )
                return InputError(f"{path}: files of kind {kind or 'without an ending'} are not read; use {_kinds()}")
        where = f"recording {recording} (line {interval.line} of labels.csv)"
        if elsewhere:
            return InputError(
                f"{folder}: {where} has no {modality} file; training needs every modality of a recording: add the "
                "file, or remove the recording's lines from labels.csv"
            )
        return InputError(f"{folder}: {where} has no file; mend the name or remove the line")

    def _load(self, paths: Mapping[str, Path]) -> dict[str, Waveform]:
        """Modality -> waveform as it stands in the file."""
        return {m.name: _read(paths[m.name], m) for m in self.spec.streams}

    def _report_loading(self, paths: Mapping[str, Mapping[str, Path]]) -> None:
        """Bring every waveform to its modality's rate, and report rates, rests of rounding and gaps."""
        rates: Counter[tuple[str, float]] = Counter()
        rounded: Counter[str] = Counter()
        for recording, waveforms in self._waveforms.items():
            for modality in self.spec.streams:
                waveform = waveforms[modality.name]
                path = paths[recording][modality.name]
                if waveform.rate_hz != modality.rate_hz:
                    rates[modality.name, waveform.rate_hz] += 1
                    drift = drift_s(waveform, modality.rate_hz)
                    if drift > REPORTED_DRIFT_S:
                        self._report.append(f"{path}: resampling leaves a time error of {drift:.3f} s at its end")
                elif path.suffix.lower() in AUDIO_SUFFIXES and not float(modality.rate_hz).is_integer():
                    rounded[modality.name] += 1
                if waveform.gaps:
                    lost = sum(end - start for start, end in waveform.gaps)
                    self._report.append(
                        f"{path}: {_count(len(waveform.gaps), 'gap')} of {lost:.2f} s in all, "
                        f"the first at {waveform.gaps[0][0]:.2f} s"
                    )
                waveforms[modality.name] = resampled(waveform, modality.rate_hz)
        for (name, rate), count in sorted(rates.items()):
            wanted = self.spec.stream(name).rate_hz
            self._report.append(f"{name}: {_count(count, 'file')} resampled from {rate:g} Hz to {wanted:g} Hz")
        for name, count in sorted(rounded.items()):
            true, marked = self.spec.stream(name).rate_hz, round(self.spec.stream(name).rate_hz)
            self._report.append(f"{name}: {_count(count, 'file')} marked {marked} Hz taken as {true:g} Hz")

    def _cut(self, intervals: Sequence[Interval]) -> list[_Cut]:
        """The windows of all intervals; counts what is left out."""
        cuts: list[_Cut] = []
        short = 0
        gaps: Counter[str] = Counter()
        for interval in intervals:
            waveforms = self._waveforms[interval.recording]
            end_s = self._end(interval, waveforms)
            starts = window_starts(interval.start_s, end_s, self.spec.window_s, self.spec.hop_s)
            short += not starts
            for start_s in starts:
                broken = [name for name, w in waveforms.items() if w.touches_gap(start_s, start_s + self.spec.window_s)]
                if broken:
                    gaps[broken[0]] += 1
                else:
                    cuts.append(_Cut(interval.recording, start_s, interval.label))
        if short:
            verb = "is" if short == 1 else "are"
            self._report.append(f"{_count(short, 'interval')} {verb} shorter than a window ({self.spec.window_s:g} s)")
        for name, count in sorted(gaps.items()):
            self._report.append(f"{_count(count, 'window')} left out: a gap in {name}")
        return cuts

    def _end(self, interval: Interval, waveforms: Mapping[str, Waveform]) -> float:
        """End of the interval in s. A recording is as long as its shortest file; one sample is forgiven."""
        shortest = min(waveforms, key=lambda name: waveforms[name].duration_s)
        length = waveforms[shortest].duration_s
        slack = max(1 / m.rate_hz for m in self.spec.streams) + 1e-6
        line = f"{self._root / 'labels.csv'}: line {interval.line}"
        if interval.start_s >= length:
            raise InputError(
                f"{line}, start: {interval.start_s:g} s is after the end of recording {interval.recording}, "
                f"whose {shortest} file lasts {length:.3f} s; mend the line"
            )
        if interval.end_s == float("inf"):
            return length
        if interval.end_s > length + slack:
            raise InputError(
                f"{line}, end: {interval.end_s:g} s is after the end of recording {interval.recording}, whose "
                f"{shortest} file lasts {length:.3f} s; mend the line, or leave end empty for the end of the recording"
            )
        return interval.end_s

    def _report_labels(self) -> None:
        counts = Counter(cut.label for cut in self._cuts)
        for label in self.labels:
            if not counts[label]:
                raise InputError(
                    f"{self._root / 'labels.csv'}: class {label!r} has no window: its intervals are shorter than "
                    f"{self.spec.window_s:g} s or lie in gaps; label longer stretches or remove the class"
                )
        parts = [f"{label} {counts[label]}" for label in self.labels]
        used = len(set(self.recordings))
        self._report.append(f"{_count(len(self), 'window')} from {_count(used, 'recording')}: {', '.join(parts)}")


def _read(path: Path, modality: Stream) -> Waveform:
    return (read_audio if path.suffix.lower() in AUDIO_SUFFIXES else read_seismogram)(path, modality)


def _kinds() -> str:
    return ", ".join(SUFFIXES)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
