"""The line runs along the least delayed arrivals, whatever others do."""

from __future__ import annotations

import numpy as np
import pytest

from rep_edge.runtime.envelope import MOST_DRIFT, Envelope, Line, Point


def last_line(points: list[tuple[float, float]]) -> Line | None:
    """The line after points (own time, difference), which arrive at their own times."""
    envelope, line = Envelope(), None
    for own_s, apart_s in points:
        line = envelope.add(Point(own_s, apart_s), own_s) or line
    return line


def test_a_line_needs_four_bins() -> None:
    assert last_line([(float(t), 0.5) for t in range(40)]) is None
    line = last_line([(float(t), 0.5) for t in range(41)])
    assert line is not None
    assert (line.at(1000), line.drift) == (0.5, 0.0)


def test_delays_and_a_few_bad_bins_do_not_count() -> None:
    rng = np.random.default_rng(0)
    points = []
    for i in range(3000):
        apart_s = 3 + 1e-4 * i / 10 + rng.exponential(0.02)
        if 500 <= i < 900:
            apart_s += 0.2
        if i % 700 == 0:
            apart_s -= 0.1
        points.append((i / 10, apart_s))
    line = last_line(points)
    assert line is not None
    assert line.drift == pytest.approx(1e-4, abs=2e-5)
    assert line.at(300) == pytest.approx(3.03, abs=3e-3)


def test_no_more_drift_than_a_crystal_has() -> None:
    line = last_line([(float(t), 0.1 * t) for t in range(100)])
    assert line is not None
    assert line.drift == MOST_DRIFT


def test_many_points_of_one_time_tell_no_drift() -> None:
    envelope = Envelope()
    lines = [envelope.add(Point(5.0, float(t)), float(t)) for t in range(0, 100, 10)]
    assert lines[-1] is not None
    assert lines[-1].drift == 0.0
