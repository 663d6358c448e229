"""Recordings played to a streaming classifier as if their sensors were delivering now."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.classifier import Prediction
from rep_edge.runtime.sources.recording import Recording
from rep_edge.runtime.streaming import StreamingClassifier
from rep_edge.signals import WindowSpec

CHUNK_S = 0.1


class Drop(NamedTuple):
    """A stream that is silent from start_s to end_s, in s from the start of the replay."""

    name: str
    start_s: float
    end_s: float


class Chunk(NamedTuple):
    """Samples float32 [channels, n] of one stream from `start_s` on, in s from the start of the replay."""

    start_s: float
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


def origin(recordings: Mapping[str, Recording]) -> dict[str, float]:
    """What is second 0 of the replay on each recording's own time line.

    Recordings that all carry the time of day keep their distance; otherwise all begin together.
    """
    starts = {name: recording.pieces[0].start_s for name, recording in recordings.items()}
    if all(recording.absolute for recording in recordings.values()):
        return dict.fromkeys(starts, min(starts.values()))
    return starts


def chunks(recordings: Mapping[str, Recording], spec: WindowSpec, drops: list[Drop]) -> Iterator[Chunk]:
    """All samples in pieces of 0.1 s, by the time at which they would have arrived, without those that are dropped."""
    zero = origin(recordings)
    waiting = {name: _chunks(name, recordings[name], zero[name], spec) for name in recordings}
    heads = {name: next(stream, None) for name, stream in waiting.items()}
    while any(head is not None for head in heads.values()):
        name, head = min(((n, h) for n, h in heads.items() if h is not None), key=lambda item: item[1].start_s)
        heads[name] = next(waiting[name], None)
        middle = head.start_s + CHUNK_S / 2
        if not any(drop.name == name and drop.start_s <= middle < drop.end_s for drop in drops):
            yield head


def _chunks(name: str, recording: Recording, zero_s: float, spec: WindowSpec) -> Iterator[Chunk]:
    rate = spec[name].rate_hz
    size = max(1, round(CHUNK_S * rate))
    for piece in recording.pieces:
        for at in range(0, piece.values.shape[1], size):
            yield Chunk(piece.start_s - zero_s + at / rate, name, piece.values[:, at : at + size])


def replay(
    stream: StreamingClassifier, recordings: Mapping[str, Recording], drops: list[Drop], *, real_time: bool
) -> Iterator[Prediction]:
    """Predictions of the recordings, hop by hop; in real time each chunk waits until it would have been recorded."""
    spec = stream.spec
    began = time.monotonic()
    length_s = max(_length_s(recordings, name, spec) for name in recordings)
    now_s = 0.0
    for chunk in chunks(recordings, spec, drops):
        end_s = chunk.start_s + chunk.values.shape[1] / spec[chunk.name].rate_hz
        while real_time and time.monotonic() - began < end_s:
            time.sleep(min(CHUNK_S, max(0.0, end_s - (time.monotonic() - began))))
            yield from stream.advance(min(time.monotonic() - began, end_s))
        yield from stream.push(chunk.name, chunk.values, chunk.start_s)
        now_s = max(now_s, end_s)
    # What the recordings still complete; silence at their end is part of the time line where it was asked for.
    for prediction in stream.advance(length_s + stream.settings.lateness_s):
        if prediction.end_s <= length_s + 1e-6:
            yield prediction


def _length_s(recordings: Mapping[str, Recording], name: str, spec: WindowSpec) -> float:
    last = recordings[name].pieces[-1]
    return last.start_s - origin(recordings)[name] + last.values.shape[1] / spec[name].rate_hz
