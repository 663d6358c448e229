from __future__ import annotations

import numpy as np
import pytest

from rep_edge.runtime.sources.packet import fault_of

ONES = np.ones((1, 100), dtype=np.float32)


def test_a_plain_packet_has_no_fault() -> None:
    assert fault_of(ONES, 1.7e9, 100.0) is None


@pytest.mark.parametrize("start_s", [-1.0, 1.7e12, float("nan"), float("inf")])
def test_times_that_no_clock_shows_are_refused(start_s: float) -> None:
    assert fault_of(ONES, start_s, 100.0) == "its time is none between 1970 and 2100"


@pytest.mark.parametrize("rate_hz", [0.0, -100.0, 1e9, float("nan"), float("inf")])
def test_rates_that_no_sensor_has_are_refused(rate_hz: float) -> None:
    assert fault_of(ONES, 1.7e9, rate_hz) == "its rate is none"


def test_nothing_and_too_much_are_refused() -> None:
    assert fault_of(ONES[:, :0], 1.7e9, 100.0) == "it holds no samples"
    assert fault_of(ONES, 1.7e9, 1.0) == "it lasts longer than 60 s"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(value: float) -> None:
    values = ONES.copy()
    values[0, 50] = value
    assert fault_of(values, 1.7e9, 100.0) == "it holds samples that are no finite numbers"
