"""Chunks on their way through faults: each knows when its samples were taken, whatever its clock says by now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.sources.live import Chunk


class Part(NamedTuple):
    """A chunk, or a piece of one; taken_s: when its first sample was taken, in s from the stream's beginning."""

    chunk: Chunk
    taken_s: float

    @property
    def values(self) -> NDArray[np.float32]:
        return self.chunk.values

    def holding(self, values: NDArray[np.float32]) -> Part:
        """The same, with other samples."""
        return Part(self.chunk._replace(values=values), self.taken_s)

    def arriving(self, arrived_s: float) -> Part:
        """The same, come at another time."""
        return Part(self.chunk._replace(arrived_s=arrived_s), self.taken_s)

    def stamped_later(self, seconds: float) -> Part:
        """The same, the sensor's clock being fast by so much."""
        return Part(self.chunk._replace(start_s=self.chunk.start_s + seconds), self.taken_s)


def as_parts(chunks: Iterable[Chunk], zero_s: float | None) -> Iterator[Part]:
    """zero_s: time of the stream's beginning on the sensor's clock; None: that of the first chunk."""
    for chunk in chunks:
        zero_s = chunk.start_s if zero_s is None else zero_s
        yield Part(chunk, chunk.start_s - zero_s)


def cut_at(parts: Iterable[Part], times_s: tuple[float, ...]) -> Iterator[Part]:
    """The same samples; none of the parts holds samples from both sides of one of the times, which ascend."""
    for part in parts:
        rest = part
        for time_s in times_s:
            before = int(np.ceil((time_s - rest.taken_s) * rest.chunk.rate_hz - 1e-6))
            if 0 < before < rest.values.shape[1]:
                head, rest = _halves(rest, before)
                yield head
        yield rest


def _halves(part: Part, count: int) -> tuple[Part, Part]:
    """Its first `count` samples and the others, each as if it had been sent alone."""
    chunk, left = part.chunk, part.values.shape[1] - count
    head = chunk._replace(values=part.values[:, :count], arrived_s=chunk.arrived_s - left / chunk.rate_hz)
    passed_s = count / chunk.rate_hz
    tail = chunk._replace(values=part.values[:, count:], start_s=chunk.start_s + passed_s)
    return Part(head, part.taken_s), Part(tail, part.taken_s + passed_s)
