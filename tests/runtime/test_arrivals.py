"""The rate at which samples really come, whatever comes in between."""

from __future__ import annotations

import pytest

from rep_edge.runtime.arrivals import Arrivals


def arrive(seconds: float, rate_hz: float, arrivals: Arrivals, *, outage: tuple[float, float] = (0, 0)) -> None:
    """Ten samples at a time; in the outage nothing arrives, and then all of it."""
    for i in range(round(seconds * rate_hz / 10)):
        taken_s = i * 10 / rate_hz
        begin_s, end_s = outage
        arrivals.count(i / 10, 10, end_s if begin_s <= taken_s < end_s else taken_s)


def test_the_rate_is_that_of_arrival() -> None:
    arrivals = Arrivals()
    arrive(8, 97, arrivals)
    assert arrivals.rate_hz is None
    arrivals = Arrivals()
    arrive(60, 97, arrivals)
    assert arrivals.rate_hz == pytest.approx(97, rel=2e-3)


@pytest.mark.parametrize("end_s", [22.0, 35.0, 50.0])
def test_a_burst_after_an_outage_changes_nothing(end_s: float) -> None:
    arrivals = Arrivals()
    arrive(60, 100, arrivals, outage=(20, end_s))
    assert arrivals.rate_hz == pytest.approx(100, rel=0.01)


def test_a_chunk_that_comes_twice_counts_once() -> None:
    arrivals = Arrivals()
    for i in range(300):
        for _ in range(2):
            arrivals.count(i / 10, 10, i / 10)
    assert arrivals.rate_hz == pytest.approx(100, rel=0.01)
