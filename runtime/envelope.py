"""The least delayed arrivals of the last minutes, and the line through them: offset and drift of a clock."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BIN_S = 10.0
"""Seconds of arrivals of which the least delayed one is kept."""
BINS = 60
FEWEST_BINS = 4
"""Bins that a line is told from."""
NEAR_S = 1.0
"""Points nearer than this in time tell no slope."""
MOST_DRIFT = 1e-3
"""No crystal drifts further: 1000 ppm."""
LOW = 0.25
"""Quantile of the points that lie below the line: most delays only add, a few time stamps are early."""


class Point(NamedTuple):
    """A chunk that ended at own_s of the sensor's clock and arrived apart_s later on ours."""

    own_s: float
    apart_s: float


class Line(NamedTuple):
    """apart = base_s + drift * (own - zero_s)."""

    zero_s: float
    base_s: float
    drift: float

    def at(self, own_s: float) -> float:
        """The offset at a time of the sensor's clock, in s."""
        return self.base_s + self.drift * (own_s - self.zero_s)


class Envelope:
    """One point for each ten seconds of arrivals, of the last ten minutes of them."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=BINS)
        self._bin = -1
        self._least: Point | None = None

    def clear(self) -> None:
        """Forget all points."""
        self._points.clear()
        self._least = None

    def add(self, point: Point, arrived_s: float) -> Line | None:
        """The line anew, where the point begins another bin and there are enough of them."""
        number = int(arrived_s // BIN_S)
        if number == self._bin or self._least is None:
            self._bin = number
            if self._least is None or point.apart_s < self._least.apart_s:
                self._least = point
            return None
        self._points.append(self._least)
        self._bin, self._least = number, point
        return fit(self._points) if len(self._points) >= FEWEST_BINS else None


def fit(points: deque[Point]) -> Line:
    """Slope: the median over pairs of points (Theil-Sen), which nearly a third of them cannot move; height: a low
    quantile of what remains."""
    own, apart = np.array(points).T
    zero_s = own[0]
    first, second = _pairs(len(own))
    spans = own[second] - own[first]
    far = np.abs(spans) >= NEAR_S
    slopes = (apart[second] - apart[first])[far] / spans[far]
    drift = float(np.clip(np.median(slopes), -MOST_DRIFT, MOST_DRIFT)) if slopes.size else 0.0
    return Line(float(zero_s), float(np.quantile(apart - drift * (own - zero_s), LOW)), drift)


@lru_cache(maxsize=BINS)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs i < j of so many points."""
    first, second = np.triu_indices(count, 1)
    return first, second
