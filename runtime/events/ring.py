"""The last seconds of one stream, for clips and for the page."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from rep_edge.signals import Modality

SLACK_S = 0.02
"""Seconds; a chunk that starts so near to the end of the one before follows on, for time stamps jitter."""

BRIDGE_S = 0.04
"""Seconds; a gap up to this length is a clock that drifts, and is filled by a straight line."""


class Ring:
    """Samples at the modality's rate on the common time line: sample i stands at time i / rate_hz.

    What came first stays; what never came is NaN. A chunk that is older than everything held begins the ring anew: the
    time line was set back. Threads may share it; its memory is taken once, here.
    """

    def __init__(self, modality: Modality, seconds: float) -> None:
        self.modality = modality
        self._size = math.ceil(seconds * modality.rate_hz)
        self._values = np.full((modality.channels, self._size), np.nan, dtype=np.float32)
        self._end: int | None = None
        self._lock = threading.Lock()

    def push(self, values: NDArray[np.float32], start_s: float) -> None:
        """Add samples float32 [channels, n] that begin at `start_s`."""
        rate_hz = self.modality.rate_hz
        exact = start_s * rate_hz
        with self._lock:
            if self._end is None or round(exact) + values.shape[1] <= self._end - self._size:
                self._values[:] = np.nan
                self._end = round(exact)
            apart = round(exact) - self._end
            if abs(exact - self._end) <= SLACK_S * rate_hz:
                apart = 0
            elif 0 < apart <= BRIDGE_S * rate_hz:
                values, apart = self._bridged(values, apart), 0
            self._write(values, self._end + apart)

    def cut(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """A copy of the samples between two times, float32 [channels, n], NaN where none came or is held no more."""
        first = round(start_s * self.modality.rate_hz)
        length = max(0, round((end_s - start_s) * self.modality.rate_hz))
        out = np.full((self.modality.channels, length), np.nan, dtype=np.float32)
        with self._lock:
            if self._end is not None:
                held, stop = max(first, self._end - self._size), min(first + length, self._end)
                if held < stop:
                    places = np.arange(held, stop) % self._size
                    out[:, held - first : stop - first] = self._values[:, places]
        return out

    def _bridged(self, values: NDArray[np.float32], gap: int) -> NDArray[np.float32]:
        """The samples, led to by `gap` samples on a straight line from the last one held."""
        assert self._end is not None
        last = self._values[:, [(self._end - 1) % self._size]]
        way = np.arange(1, gap + 1, dtype=np.float32) / np.float32(gap + 1)
        return np.concatenate([last + way * (values[:, :1] - last), values], axis=1)

    def _write(self, values: NDArray[np.float32], start: int) -> None:
        """Put samples where none came before; what lies between the end and them is not received yet."""
        assert self._end is not None
        if start == self._end and values.shape[1] <= self._size:
            self._append(values, start)
            return
        stop = start + values.shape[1]
        end = max(self._end, stop)
        self._values[:, np.arange(max(self._end, end - self._size), end) % self._size] = np.nan
        self._end = end
        oldest = max(start, end - self._size)
        places = np.arange(oldest, stop) % self._size
        held = self._values[:, places]
        self._values[:, places] = np.where(np.isnan(held), values[:, oldest - start :], held)

    def _append(self, values: NDArray[np.float32], start: int) -> None:
        """What follows on, as nearly all chunks do: in one piece, or two where the ring's seam lies in it."""
        at, count = start % self._size, values.shape[1]
        before = min(count, self._size - at)
        self._values[:, at : at + before] = values[:, :before]
        self._values[:, : count - before] = values[:, before:]
        self._end = start + count
