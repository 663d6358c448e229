"""One stream's recent samples on the common time line: a ring of fixed size, whatever the chunks are like."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.signals import Modality


class Cut(NamedTuple):
    """A window of a stream: samples float32 [channels, n] (0 where none came) and how many of them came."""

    values: NDArray[np.float32]
    received: int


class StreamBuffer:
    """The last `capacity_s` seconds of one stream.

    Sample i stands at time i / rate_hz. Chunks may have any length, come late, overlap or leave gaps: what was received
    first stays, a gap stays marked. Memory is taken once, here.

    slack_s: a chunk that starts so near to the end of the one before it is taken to follow on: clocks jitter.
    """

    def __init__(self, modality: Modality, capacity_s: float, slack_s: float) -> None:
        self.modality = modality
        self._size = math.ceil(capacity_s * modality.rate_hz) + modality.samples
        self._slack = slack_s * modality.rate_hz
        self._values = np.zeros((modality.channels, self._size), dtype=np.float32)
        self._came = np.zeros(self._size, dtype=bool)
        self._end: int | None = None

    @property
    def end_s(self) -> float | None:
        """Time up to which samples are known, in s; None before the first one."""
        return None if self._end is None else self._end / self.modality.rate_hz

    def restart(self) -> None:
        """Forget everything: the time line begins anew."""
        self._came[:] = False
        self._end = None

    def push(self, chunk: NDArray[np.float32], start_s: float) -> None:
        """Add samples [channels, n] or [n] that begin at `start_s`. Raises InputError for another shape or dtype."""
        values = self._checked(chunk)
        if not values.shape[1]:
            return
        exact = start_s * self.modality.rate_hz
        start = round(exact)
        if self._end is None:
            self._end = start
        elif abs(exact - self._end) <= self._slack:
            start = self._end
        stop = start + values.shape[1]
        self._open(stop)
        oldest = self._end - self._size
        if start < oldest:
            values, start = values[:, oldest - start :], oldest
        self._write(values, start)

    def _checked(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        name, channels = self.modality.name, self.modality.channels
        if not isinstance(chunk, np.ndarray) or chunk.dtype.kind not in "fiu":
            raise InputError(f"{name}: a chunk must be an array of numbers, not {getattr(chunk, 'dtype', type(chunk))}")
        values = chunk[None] if chunk.ndim == 1 else chunk
        if values.ndim != 2 or values.shape[0] != channels:
            raise InputError(f"{name}: a chunk has shape {list(chunk.shape)} instead of [{channels}, samples]")
        return values.astype(np.float32, copy=False)

    def _open(self, stop: int) -> None:
        """Move the end to `stop`, if that is later: what lies between is not received yet."""
        assert self._end is not None
        fresh = min(stop - self._end, self._size)
        if fresh > 0:
            for part in self._parts(stop - fresh, stop):
                self._came[part] = False
                self._values[:, part] = 0.0
            self._end = stop

    def _write(self, values: NDArray[np.float32], start: int) -> None:
        """Put samples where none came before."""
        offset = 0
        for part in self._parts(start, start + values.shape[1]):
            piece = values[:, offset : offset + part.stop - part.start]
            offset += piece.shape[1]
            held = self._came[part]
            if held.any():
                piece = np.where(held, self._values[:, part], piece)
            self._values[:, part] = piece
            self._came[part] = True

    def cut(self, end_s: float) -> Cut:
        """The window that ends at `end_s`; what has not come, or is no longer held, is 0 and not counted."""
        n = self.modality.samples
        stop = round(end_s * self.modality.rate_hz)
        window = np.zeros((self.modality.channels, n), dtype=np.float32)
        if self._end is None:
            return Cut(window, 0)
        first, last = max(stop - n, self._end - self._size), min(stop, self._end)
        received = 0
        at = first - (stop - n)
        for part in self._parts(first, last):
            length = part.stop - part.start
            window[:, at : at + length] = self._values[:, part]
            received += int(np.count_nonzero(self._came[part]))
            at += length
        return Cut(window, received)

    def _parts(self, start: int, stop: int) -> list[slice]:
        """Where samples start..stop lie in the ring: none, one or two pieces."""
        if stop <= start:
            return []
        first, length = start % self._size, stop - start
        if first + length <= self._size:
            return [slice(first, first + length)]
        return [slice(first, self._size), slice(0, first + length - self._size)]
