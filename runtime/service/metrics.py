"""How long inference took: histograms that the loop fills and that Prometheus reads."""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import NamedTuple

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the histogram's cells, in s; one more cell holds what took longer."""


class Durations:
    """durations.observe("acoustic+seismic", "onnxruntime", 0.004)

    A histogram for each pattern and backend. Threads may share it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._histograms: dict[tuple[str, str], Histogram] = {}

    def observe(self, pattern: str, backend: str, seconds: float) -> None:
        """A window was answered in `seconds`."""
        with self._lock:
            empty = Histogram((0,) * (len(BOUNDS_S) + 1), 0.0)
            counts, sum_s = self._histograms.get((pattern, backend), empty)
            cell = bisect_left(BOUNDS_S, seconds)
            counts = (*counts[:cell], counts[cell] + 1, *counts[cell + 1 :])
            self._histograms[pattern, backend] = Histogram(counts, sum_s + seconds)

    def histograms(self) -> dict[tuple[str, str], Histogram]:
        """(pattern, backend) -> its histogram so far."""
        with self._lock:
            return dict(self._histograms)


class Histogram(NamedTuple):
    """counts: windows in each cell, those beyond the last bound at the end; sum_s: of all durations in s."""

    counts: tuple[int, ...]
    sum_s: float
