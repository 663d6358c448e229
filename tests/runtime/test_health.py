"""A window is healthy or has one named fault; a stream that had one is believed again after a while."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from bundles import ACOUSTIC, MAGNETIC
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.health import Admission, HealthLimits, fault, longest_run
from rep_edge.runtime.streams import Cut
from rep_edge.signals import Modality

LIMITS = HealthLimits()


def noise(modality: Modality = ACOUSTIC) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(modality.shape).astype(np.float32)


def found(values: NDArray[np.float32], modality: Modality = ACOUSTIC) -> str | None:
    return fault(modality, Cut(values.astype(np.float32), modality.samples, 0, True), LIMITS)


def test_noise_is_healthy() -> None:
    assert found(noise()) is None
    assert found(noise(MAGNETIC), MAGNETIC) is None


def test_samples_that_did_not_come() -> None:
    window = np.zeros(ACOUSTIC.shape, np.float32)
    assert fault(ACOUSTIC, Cut(window, 0, 800, False), LIMITS) == "no samples yet"
    assert fault(ACOUSTIC, Cut(window, 400, 400, True), LIMITS) == "no samples for 0.5 s"
    assert fault(ACOUSTIC, Cut(window, 792, 8, True), LIMITS) == "no samples for 10 ms"
    assert fault(ACOUSTIC, Cut(window, 600, 0, True), LIMITS) == "0.8 s of 1.0 s received"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number(value: float) -> None:
    x = noise()
    x[0, 400] = value
    assert found(x) == "samples that are no numbers"


def test_a_sample_that_no_sensor_delivers() -> None:
    x = noise()
    x[0, 3] = -3e20
    assert found(x) == "samples as large as 3e+20"


def test_a_flat_line() -> None:
    assert found(np.full(ACOUSTIC.shape, 0.25)) == "flat at 0.25"


def test_a_stuck_sensor() -> None:
    x = noise()
    x[0, 100:501] = x[0, 100]
    assert found(x) == "stuck at one value for 0.5 s"
    x[0, 300] = 0.0
    assert found(x) is None


def test_a_fault_in_one_channel_is_one_of_the_stream() -> None:
    x = noise(MAGNETIC)
    x[2] = 7
    assert found(x, MAGNETIC) == "flat at 7"


@pytest.mark.parametrize("rails", [(-0.5, 0.5), (-9.0, 0.5), (-0.5, 9.0), (-0.01, 0.01)])
def test_clipping(rails: tuple[float, float]) -> None:
    told = found(np.clip(noise(), *rails))
    assert told is not None
    assert told.startswith("clipped, ")


def test_a_few_clipped_samples_are_forgiven() -> None:
    assert found(np.clip(noise(), -1.7, 1.7)) is None


def test_a_coarse_converter_is_not_clipped() -> None:
    assert found(np.round(noise())) is None
    assert found(np.round(0.6 * noise())) is None


def test_a_pure_tone_is_healthy() -> None:
    for hz in (1.7, 50, 100, 133):
        t = np.arange(ACOUSTIC.samples) / ACOUSTIC.rate_hz
        assert found(np.sin(2 * np.pi * hz * t + 0.3)[None]) is None, hz


@given(st.lists(st.sampled_from([0.0, 1.0, -1.0]), min_size=1, max_size=40))
def test_the_longest_run(values: list[float]) -> None:
    longest = run = 1
    for before, after in pairwise(values):
        run = run + 1 if before == after else 1
        longest = max(longest, run)
    assert longest_run(np.array(values, np.float32)) == longest


def test_a_stream_that_begins_is_believed_at_once() -> None:
    admission = Admission(readmit=3)
    assert admission.judge("no samples yet") == "no samples yet"
    assert admission.judge(None) is None


def test_a_stream_that_was_lost_is_believed_after_some_healthy_windows() -> None:
    admission = Admission(readmit=3)
    told = [admission.judge(f) for f in (None, "flat", None, None, "flat", None, None, None, None)]
    back = [f"back, healthy for {i} of 3 windows" for i in (1, 2)]
    assert told == [None, "flat", *back, "flat", *back, None, None]


@pytest.mark.parametrize(("name", "value"), [("stuck_s", 0), ("clipped", -1), ("largest", np.nan), ("readmit", 0)])
def test_limits_that_are_none(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}: must be"):
        msgspec.structs.replace(LIMITS, **{name: value})
