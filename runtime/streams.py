"""One stream's recent samples on the common time line: a ring of fixed size, whatever the chunks are like."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.signals import Stream

MOST_HOLES = 16
"""Gaps that are remembered for chunks that come late."""


class Cut(NamedTuple):
    """A window of a stream.

    values: float32 [channels, samples], 0 where no sample came; received: how many samples came, of each channel;
    silent: how many at its end did not; begun: whether the stream ever delivered; filled: how many of those received
    are a straight line over a small gap.
    """

    values: NDArray[np.float32]
    received: int
    silent: int
    begun: bool
    filled: int = 0


class StreamBuffer:
    """The last seconds of one stream.

    Sample i stands at time i / rate_hz. Chunks may have any length, come late, overlap or leave gaps: what was received
    first stays, a gap stays marked. Memory is taken once, here.

    gaps, filled: gaps so far that stayed, and small ones that were filled.

    history_s: how far back a window may end before the newest sample.
    slack_s: a chunk that starts so near to the end of the one before it is taken to follow on, for time stamps jitter.
    bridge_s: a gap up to this length is filled by a straight line: clocks that drift beyond the slack tear such ones.
    """

    def __init__(self, modality: Stream, history_s: float, slack_s: float, bridge_s: float) -> None:
        self.modality = modality
        self._size = math.ceil(history_s * modality.rate_hz) + 2 * modality.samples
        self._slack, self._bridge = slack_s * modality.rate_hz, bridge_s * modality.rate_hz
        self._values = np.zeros((modality.channels, self._size), dtype=np.float32)
        self._came = np.zeros(self._size, dtype=bool)
        self._end: int | None = None
        # Where the straight lines lie; those that have left the ring are forgotten.
        self._bridges: deque[tuple[int, int]] = deque()
        # Gaps that a late chunk may still fill.
        self._holes: deque[tuple[int, int]] = deque(maxlen=MOST_HOLES)
        self.gaps = self.filled = 0

    @property
    def end_s(self) -> float | None:
        """Time up to which samples have come, in s; None before the first one."""
        return None if self._end is None else self._end / self.modality.rate_hz

    def restart(self) -> None:
        """Forget everything: the time line begins anew."""
        self._end = None
        self._bridges.clear()
        self._holes.clear()

    def push(self, values: NDArray[np.float32], start_s: float) -> None:
        """Add samples float32 [channels, n], at most a window of them, that begin at `start_s`."""
        exact = start_s * self.modality.rate_hz
        if self._end is None:
            start = self._end = round(exact)
            self._came[:] = False
        elif abs(exact - self._end) <= self._slack:
            start = self._end
        else:
            start = round(exact)
            if 0 < start - self._end <= self._bridge:
                self._fill(start, values)
            elif start > self._end:
                self.gaps += 1
                self._holes.append((self._end, start))
            else:
                values, start = self._late(values, exact)
        if start == self._end and values.shape[1] <= self._size:
            self._append(values)
            return
        self._open(start + values.shape[1])
        oldest = self._end - self._size
        if start < oldest:
            values, start = values[:, oldest - start :], oldest
        self._write(values, start)

    def _append(self, values: NDArray[np.float32]) -> None:
        """What follows on, as nearly all chunks do."""
        assert self._end is not None
        at, count = self._end % self._size, values.shape[1]
        before = min(count, self._size - at)
        self._values[:, at : at + before] = values[:, :before]
        self._came[at : at + before] = True
        if before < count:
            self._values[:, : count - before] = values[:, before:]
            self._came[: count - before] = True
        self._end += count

    def _late(self, values: NDArray[np.float32], exact: float) -> tuple[NDArray[np.float32], int]:
        """A late chunk and where it begins: at the edge of the gap that was left for it, where it starts near enough.

        What it leaves of the gap is filled by a straight line if that is short.
        """
        for i, (begin, stop) in enumerate(self._holes):
            if abs(exact - begin) > self._slack:
                continue
            left = stop - begin - values.shape[1]
            if left > self._bridge:
                self._holes[i] = (stop - left, stop)
                return values, begin
            del self._holes[i]
            self.gaps -= 1
            if left > 0:
                self._bridges.append((stop - left, stop))
                self.filled += 1
                values = np.concatenate([values, _line(values[:, -1:], self._values[:, [stop % self._size]], left)], 1)
            return values, begin
        return values, round(exact)

    def _fill(self, stop: int, values: NDArray[np.float32]) -> None:
        """A straight line from the last sample held to the first of `values`, which stands at `stop`."""
        assert self._end is not None
        start = self._end
        while self._bridges and self._bridges[0][1] < stop - self._size:
            self._bridges.popleft()
        self._bridges.append((start, stop))
        self.filled += 1
        line = _line(self._values[:, [(start - 1) % self._size]], values[:, :1], stop - start)
        self._open(stop)
        self._write(line, start)

    def _open(self, stop: int) -> None:
        """Move the end to `stop`, if that is later: what lies between is not received yet."""
        assert self._end is not None
        fresh = min(stop - self._end, self._size)
        if fresh > 0:
            for part in self._parts(stop - fresh, stop):
                self._came[part] = False
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
            held[:] = True

    def holds(self, start_s: float, stop_s: float) -> bool:
        """Whether every sample between two times, of which the ring still has room for, came."""
        first, stop = round(start_s * self.modality.rate_hz), round(stop_s * self.modality.rate_hz)
        if self._end is None or self._end < stop:
            return False
        return all(bool(self._came[part].all()) for part in self._parts(max(first, self._end - self._size), stop))

    def cut(self, end_s: float) -> Cut:
        """The window that ends at `end_s`; what has not come, or is no longer held, is 0 and not counted."""
        n = self.modality.samples
        window = np.zeros((self.modality.channels, n), dtype=np.float32)
        if self._end is None:
            return Cut(window, 0, n, False)
        stop = round(end_s * self.modality.rate_hz)
        first, last = max(stop - n, self._end - self._size), min(stop, self._end)
        received = self._copy(window[:, first - (stop - n) :], first, last)
        filled = sum(max(0, min(end, last) - max(begin, first)) for begin, end in self._bridges)
        return Cut(window, received, max(0, stop - self._end), True, filled)

    def between(self, start_s: float, stop_s: float) -> NDArray[np.float32]:
        """A copy of the samples between two times, float32 [channels, n], NaN where none came or is held no more."""
        begin, end = round(start_s * self.modality.rate_hz), round(stop_s * self.modality.rate_hz)
        out = np.full((self.modality.channels, max(0, end - begin)), np.nan, dtype=np.float32)
        if self._end is not None:
            first = max(begin, self._end - self._size)
            self._copy(out[:, first - begin :], first, min(end, self._end))
        return out

    def _copy(self, out: NDArray[np.float32], first: int, last: int) -> int:
        """Put what came of samples first..last into `out`, which begins with the first; how many came."""
        received = at = 0
        for part in self._parts(first, last):
            length = part.stop - part.start
            came = self._came[part]
            count = int(np.count_nonzero(came))
            if count == length:
                out[:, at : at + length] = self._values[:, part]
            else:
                np.copyto(out[:, at : at + length], self._values[:, part], where=came)
            received += count
            at += length
        return received

    def _parts(self, start: int, stop: int) -> list[slice]:
        """Where samples start..stop lie in the ring: none, one or two pieces."""
        if stop <= start:
            return []
        first, length = start % self._size, stop - start
        if first + length <= self._size:
            return [slice(first, first + length)]
        return [slice(first, self._size), slice(0, first + length - self._size)]


def _line(last: NDArray[np.float32], following: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """`count` samples on the straight line between two, each [channels, 1]."""
    way = np.arange(1, count + 1, dtype=np.float32) / np.float32(count + 1)
    return np.asarray(last + way * (following - last), dtype=np.float32)


def checked_chunk(modality: Stream, chunk: NDArray[np.generic]) -> NDArray[np.float32]:
    """A chunk of numbers [channels, n] (or [n] of one channel) as float32 [channels, n]; InputError for anything else.

    Whole numbers are taken as they are, as samples in the modality's unit.
    """
    if not isinstance(chunk, np.ndarray) or chunk.dtype.kind not in "fiu":
        kind = chunk.dtype if isinstance(chunk, np.ndarray) else type(chunk).__name__
        raise InputError(f"{modality.name}: a chunk must be an array of numbers, not {kind}; convert it")
    values = chunk[None] if chunk.ndim == 1 else chunk
    if values.ndim != 2 or values.shape[0] != modality.channels:
        raise InputError(
            f"{modality.name}: a chunk has shape {list(chunk.shape)} instead of [{modality.channels}, samples]"
        )
    if values.dtype == np.float32:
        return values.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):  # What is too large becomes an infinity, which the health of the stream tells.
        return values.astype(np.float32, copy=False)
