"""Recordings played to a streaming classifier as if their sensors were delivering now."""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.clocks import StreamClock
from rep_edge.runtime.faults.fault import Fault
from rep_edge.runtime.faults.injecting import inject
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.sources import live
from rep_edge.runtime.sources.recording import PIECE_S, Recording
from rep_edge.runtime.streaming import StreamingClassifier
from rep_edge.runtime.windows import EPSILON_S
from rep_edge.signals import WindowSpec

LONGEST_WAIT_S = 86400.0
"""Seconds; recordings whose clocks are further apart were not made together."""


class Drop(NamedTuple):
    """A stream that is silent from start_s to end_s, in s from the start of the replay."""

    name: str
    start_s: float
    end_s: float


class Chunk(NamedTuple):
    """Samples float32 [channels, n] of one stream from start_s to end_s, in s from the start of the replay.

    Of a stream with faults start_s is what its clock says, and end_s is when it comes.
    """

    start_s: float
    end_s: float
    name: str
    values: NDArray[np.float32]


def parse_drops(text: str | None, spec: WindowSpec) -> list[Drop]:
    """The drops of "acoustic@10-20,seismic@30-40". Raises InputError for another form, name or an empty span."""
    drops = []
    for part in text.split(",") if text else []:
        match = re.fullmatch(r"\s*(\w+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)\s*", part)
        if not match:
            raise InputError(f"--drop {part}: must be NAME@FROM-TO in seconds, such as {spec.names[0]}@10-20")
        drop = Drop(match[1], float(match[2]), float(match[3]))
        if drop.name not in spec.names:
            raise InputError(
                f"--drop {part}: {drop.name} is no modality of this bundle; it has {', '.join(spec.names)}"
            )
        if drop.end_s <= drop.start_s:
            raise InputError(f"--drop {part}: ends before it begins")
        drops.append(drop)
    return drops


class Replay:
    """Recordings on one time line, whose second 0 is the start of the first one.

    Recordings that all carry the time of day keep their distance; otherwise all begin together. Raises InputError
    where they were not made together, or are shorter than a window.
    """

    def __init__(self, recordings: Mapping[str, Recording], spec: WindowSpec) -> None:
        self.recordings, self.spec = dict(recordings), spec
        begins = {name: recording.begin_s for name, recording in self.recordings.items()}
        if all(recording.absolute for recording in self.recordings.values()):
            if max(begins.values()) - min(begins.values()) > LONGEST_WAIT_S:
                raise InputError(f"{' and '.join(begins)}: were recorded on different days; give files of one time")
            self._zero = dict.fromkeys(begins, min(begins.values()))
        else:
            self._zero = begins
        self.length_s = max(r.begin_s - self._zero[name] + r.length_s for name, r in self.recordings.items())
        if self.length_s < spec.window_s - EPSILON_S:
            raise InputError(
                f"{' and '.join(begins)}: {self.length_s:.2f} s are shorter than a window of {spec.window_s:g} s"
            )

    def play(
        self, stream: StreamingClassifier, drops: Iterable[Drop], *, real_time: bool, faults: Sequence[Fault] = ()
    ) -> Iterator[Prediction]:
        """One prediction a hop until the recordings end; in real time each chunk waits until it would have come."""
        silences = list(drops)
        clocks = {fault.stream: StreamClock() for fault in faults}
        began = time.monotonic()
        yield from stream.advance(0.0)
        for chunk in self.chunks(faults):
            while real_time and (missing_s := began + chunk.end_s - time.monotonic()) > 0:
                time.sleep(min(PIECE_S, missing_s))
                yield from stream.advance(min(time.monotonic() - began, chunk.end_s))
            if chunk.name in clocks:
                chunk = self._placed(chunk, clocks[chunk.name])
                stream.windows.note_rate(chunk.name, clocks[chunk.name].seen_hz)
            # In a gap of all recordings no chunk moves the time.
            yield from stream.advance(chunk.start_s)
            if _is_dropped(chunk, silences):
                yield from stream.advance(chunk.end_s)
            else:
                yield from stream.push(chunk.name, chunk.values, chunk.start_s)
        for prediction in stream.advance(self.length_s + stream.settings.lateness_s):
            if prediction.end_s <= self.length_s + EPSILON_S:
                yield prediction

    def chunks(self, faults: Sequence[Fault] = ()) -> Iterator[Chunk]:
        """All samples in the order in which they would have come: when the last one of a chunk is there."""
        streams = []
        for name in self.recordings:
            mine = [fault for fault in faults if fault.stream == name]
            streams.append(self._faulty(name, mine) if mine else self._chunks_of(name))
        return heapq.merge(*streams, key=lambda chunk: chunk.end_s)

    def _faulty(self, name: str, faults: Sequence[Fault]) -> Iterator[Chunk]:
        rate_hz = self.spec.stream(name).rate_hz
        clean = (live.Chunk(chunk.values, chunk.start_s, rate_hz, chunk.end_s) for chunk in self._chunks_of(name))
        for chunk in inject(clean, faults, seed=0, zero_s=0.0):
            yield Chunk(chunk.start_s, chunk.arrived_s, name, chunk.values)

    def _placed(self, chunk: Chunk, clock: StreamClock) -> Chunk:
        """Where the service would take a chunk to stand, whatever its clock says."""
        sent = live.Chunk(chunk.values, chunk.start_s, self.spec.stream(chunk.name).rate_hz, chunk.end_s)
        return chunk._replace(start_s=clock.place(sent))

    def _chunks_of(self, name: str) -> Iterator[Chunk]:
        rate_hz, zero_s = self.spec.stream(name).rate_hz, self._zero[name]
        for piece in self.recordings[name].pieces():
            start_s = piece.start_s - zero_s
            yield Chunk(start_s, start_s + piece.values.shape[1] / rate_hz, name, piece.values)


def _is_dropped(chunk: Chunk, drops: Iterable[Drop]) -> bool:
    middle_s = (chunk.start_s + chunk.end_s) / 2
    return any(drop.name == chunk.name and drop.start_s <= middle_s < drop.end_s for drop in drops)
