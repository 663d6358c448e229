"""The last seconds of one stream, for clips and for the page."""

from __future__ import annotations

import math
import threading

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.streams import StreamBuffer
from rep_edge.runtime.windows import EPSILON_S
from rep_edge.signals import Stream

SLACK_S = 0.02
"""Seconds; a chunk that starts so near to the end of the one before follows on, for time stamps jitter."""

BRIDGE_S = 0.04
"""Seconds; a gap up to this length is a clock that drifts, and is filled by a straight line."""


class Ring:
    """Samples at the modality's rate on the common time line: sample i stands at time i / rate_hz.

    What came first stays; what never came is NaN. A chunk that is older than everything held begins the ring anew: the
    time line was set back. Threads may share it; its memory is taken once, here.
    """

    def __init__(self, modality: Stream, seconds: float) -> None:
        self.modality, self._seconds = modality, seconds
        # Cut into windows of one sample, so that nothing is held beyond the seconds that were asked for.
        self._buffer = StreamBuffer(msgspec.structs.replace(modality, samples=1), seconds, SLACK_S, BRIDGE_S)
        self._lock = threading.Lock()

    def push(self, values: NDArray[np.float32], start_s: float) -> None:
        """Add samples float32 [channels, n] that begin at `start_s`."""
        stop_s = start_s + values.shape[1] / self.modality.rate_hz
        with self._lock:
            if stop_s <= self._oldest_s() + EPSILON_S:
                self._buffer.restart()
            self._buffer.push(values, start_s)

    def cut(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """A copy of the samples between two times, float32 [channels, n], NaN where none came or is held no more."""
        with self._lock:
            cut = self._buffer.between(start_s, end_s)
            gone = round((self._oldest_s() - start_s) * self.modality.rate_hz) if self._buffer.end_s is not None else 0
        cut[:, : max(0, gone)] = np.nan
        return cut

    def _oldest_s(self) -> float:
        """The time from which on samples are held."""
        return -math.inf if self._buffer.end_s is None else self._buffer.end_s - self._seconds
