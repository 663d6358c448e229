"""Whether a stream can be believed: faults of one window, and when a stream that had one is believed again."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.finite import all_finite
from rep_edge.runtime.streams import Cut
from rep_edge.signals import Modality


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a window stops being healthy.

    stuck_s: longest run of one value, in s.
    clipped: largest share, 0 to 1, of samples that lie at the window's lowest or at its highest value, where that value
    is also twice as frequent as any between: a coarse converter's values are most frequent in the middle.
    largest: largest magnitude of a sample, in the modality's unit; no sensor delivers more.
    readmit: healthy windows in a row after which a stream that was lost counts again.
    """

    stuck_s: float = 0.5
    clipped: float = 0.1
    largest: float = 1e12
    readmit: int = 2

    def __post_init__(self) -> None:
        for name, value in (("stuck_s", self.stuck_s), ("clipped", self.clipped), ("largest", self.largest)):
            if not value > 0:
                raise InputError(f"{name}: must be above 0, not {value}")
        if self.readmit < 1:
            raise InputError(f"readmit: must be at least 1 window, not {self.readmit}")


def fault(modality: Modality, cut: Cut, limits: HealthLimits) -> str | None:
    """What is wrong with a window, in words; None for a healthy one. A fault in one channel is one of the stream."""
    if not cut.begun:
        return "no samples yet"
    if cut.silent:
        return f"no samples for {_seconds(cut.silent, modality)}"
    if cut.received < modality.samples:
        return f"{_seconds(cut.received, modality)} of {_seconds(modality.samples, modality)} received"
    if not all_finite(cut.values):
        return "samples that are no numbers"
    for channel in cut.values:
        found = _channel_fault(channel, modality, limits)
        if found:
            return found
    return None


def _channel_fault(x: NDArray[np.float32], modality: Modality, limits: HealthLimits) -> str | None:
    low, high = float(x.min()), float(x.max())
    if max(-low, high) > limits.largest:
        return f"samples as large as {max(-low, high):.1g}"
    if low == high:
        return f"flat at {low:g}"
    run = longest_run(x)
    if run > limits.stuck_s * modality.rate_hz:
        return f"stuck at one value for {_seconds(run, modality)}"
    share = max(np.count_nonzero(x == high), np.count_nonzero(x == low)) / x.size
    if share > limits.clipped and _rails_stand_out(x):
        return f"clipped, {100 * share:.0f} % of its samples at the limit"
    return None


def _rails_stand_out(x: NDArray[np.float32]) -> bool:
    """Whether the lowest or highest value is more than twice as frequent as any value between the two."""
    counts = np.unique(x, return_counts=True)[1]
    inner = counts[1:-1].max() if counts.size > 2 else 0
    return bool(max(counts[0], counts[-1]) > 2 * inner)


def longest_run(x: NDArray[np.float32]) -> int:
    """Samples in the longest run of equal neighbours, at least 1: [n] -> count."""
    repeats = x[1:] == x[:-1]
    if not repeats.any():
        return 1
    changes = np.flatnonzero(~repeats)
    if not changes.size:
        return x.size
    return int(max(changes[0] + 1, x.size - 1 - changes[-1], np.diff(changes).max(initial=0)))


def _seconds(samples: int, modality: Modality) -> str:
    seconds = samples / modality.rate_hz
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{1e3 * seconds:.2g} ms"


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
        self._healthy, self._was_live = self._readmit, True
        return None
