"""How many samples really come in a second, whatever the sensor states."""

from __future__ import annotations

from collections import deque

import numpy as np

MARK_S = 1.0
"""Least seconds between two marks."""
MARKS = 30
APART = 5
"""Marks that a rate is taken over: jitter of one arrival then matters a fifth."""
FEWEST_MARKS = 2 * APART + 1
RECENT = 64
"""Chunks among which one that comes twice is recognised."""


class Arrivals:
    """Samples counted as they arrive, each chunk once.

    The rate is the median over some half a minute of marks, so that an outage and the burst after it do not change it.
    """

    def __init__(self) -> None:
        self._total = 0
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._marks: deque[tuple[float, int]] = deque(maxlen=MARKS)

    def count(self, start_s: float, samples: int, arrived_s: float) -> None:
        """A chunk that starts at `start_s` of its own clock had come at `arrived_s`."""
        if start_s in self._recent:
            return
        self._recent.append(start_s)
        self._total += samples
        if not self._marks or arrived_s - self._marks[-1][0] >= MARK_S:
            self._marks.append((arrived_s, self._total))

    @property
    def rate_hz(self) -> float | None:
        """Samples per second of arrival; None before there are ten marks."""
        if len(self._marks) < FEWEST_MARKS:
            return None
        times, totals = np.array(self._marks).T
        return float(np.median((totals[APART:] - totals[:-APART]) / (times[APART:] - times[:-APART])))
