"""Whether a stream can be believed: faults of one window, and when a stream that had one is believed again."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.streams import Cut
from rep_edge.signals import Modality


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Where a window stops being healthy.

    stuck_s: longest run of one value in s; clipped: largest share of samples at the window's extremes;
    clipped_levels: with fewer different values than this the window is coarse, not clipped.
    readmit: healthy windows in a row after which a lost stream counts again.
    """

    stuck_s: float = 0.5
    clipped: float = 0.1
    clipped_levels: int = 32
    readmit: int = 2


def fault(modality: Modality, cut: Cut, limits: HealthLimits) -> str | None:
    """What is wrong with a window, in words; None for a healthy one. A fault in one channel is one of the stream."""
    if cut.received == 0:
        return "no samples"
    if cut.received < modality.samples:
        return f"{(modality.samples - cut.received) / modality.rate_hz:.2f} s of the window missing"
    if not np.isfinite(cut.values.sum()) and not np.isfinite(cut.values).all():
        return "not a number"
    for channel in cut.values:
        found = _channel_fault(channel, modality.rate_hz, limits)
        if found:
            return found
    return None


def _channel_fault(x: NDArray[np.float32], rate_hz: float, limits: HealthLimits) -> str | None:
    low, high = float(x.min()), float(x.max())
    if low == high:
        return f"flat at {low:g}"
    run_s = longest_run(x) / rate_hz
    if run_s > limits.stuck_s:
        return f"stuck at one value for {run_s:.2f} s"
    share = (np.count_nonzero(x == high) + np.count_nonzero(x == low)) / x.size
    if share > limits.clipped and np.unique(x).size >= limits.clipped_levels:
        return f"clipped in {100 * share:.0f} % of the samples"
    return None


def longest_run(x: NDArray[np.float32]) -> int:
    """Samples in the longest run of equal neighbours, at least 1: [n] -> count."""
    changes = np.flatnonzero(x[1:] != x[:-1])
    edges = np.concatenate([[-1], changes, [x.size - 1]])
    return int(np.diff(edges).max())


class Admission:
    """Hysteresis of one stream: lost with its first fault, live again after `readmit` healthy windows in a row.

    A stream that begins is believed with its first healthy window.
    """

    def __init__(self, readmit: int) -> None:
        self._readmit = readmit
        self._healthy, self._was_live = 0, False

    def judge(self, found: str | None) -> str | None:
        """Why the stream is not live in this window, or None."""
        if found is not None:
            self._healthy = 0
            return found
        self._healthy += 1
        if self._was_live and self._healthy < self._readmit:
            return f"back, healthy for {self._healthy} of {self._readmit} windows"
        self._was_live = True
        return None
