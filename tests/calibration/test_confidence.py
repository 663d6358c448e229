"""Temperatures and calibration errors beside independent computations, and what no data may bring them to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from honest import honest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from rep_edge.calibration.confidence import (
    COLDEST,
    HOTTEST,
    LEAST_WINDOWS,
    Answers,
    confidence_bins,
    confidence_record,
    ece_floor,
    expected_calibration_error,
    fit_temperature,
    limit_reached,
    temperature_interval,
)
from rep_edge.errors import InputError
from rep_edge.runtime.softmax import softmax


def likelihood(answers: Answers, temperature: float) -> float:
    """Mean log-likelihood."""
    logits, targets = answers
    return float(log_softmax(logits / temperature, axis=1)[np.arange(len(targets)), targets].mean())


def test_softmax_divides_by_the_temperature_and_does_not_overflow() -> None:
    logits = np.array([[1.0, -2.0, 0.5], [3e38, -3e38, 3e38]], np.float32)
    expected = scipy_softmax(logits.astype(np.float64) / 0.5, axis=1)
    found = softmax(logits, 0.5)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3.0))
def test_the_temperature_is_the_most_likely_one(seed: int, scale: float) -> None:
    logits, targets = honest(200, seed)
    answers = Answers(logits * scale, targets)
    temperature = fit_temperature(*answers)
    reference = minimize_scalar(
        lambda inverse: -likelihood(answers, 1 / inverse),
        bounds=(1 / HOTTEST, 1 / COLDEST),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert temperature == pytest.approx(1 / reference.x, rel=1e-5)
    assert likelihood(answers, temperature) >= likelihood(answers, 1.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 2.0))
def test_logits_that_are_scaled_scale_the_temperature_and_keep_the_probabilities(seed: int, scale: float) -> None:
    logits, targets = honest(200, seed)
    plain, scaled = fit_temperature(logits, targets), fit_temperature(scale * logits, targets)
    assert scaled == pytest.approx(scale * plain, rel=1e-8)
    np.testing.assert_allclose(softmax(scale * logits, scaled), softmax(logits, plain), atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(COLDEST, HOTTEST))
def test_no_temperature_changes_the_label(seed: int, temperature: float) -> None:
    logits, _ = honest(50, seed)
    assert (softmax(logits, temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_the_true_temperature_is_found_with_many_windows() -> None:
    logits, targets = honest(20_000, seed=1)
    assert fit_temperature(logits, targets) == pytest.approx(1, abs=0.03)
    assert fit_temperature(3 * logits, targets) == pytest.approx(3, abs=0.09)


def test_the_order_of_windows_and_a_constant_on_all_logits_do_not_matter() -> None:
    logits, targets = honest(300, seed=2)
    order = np.random.default_rng(0).permutation(300)
    expected = fit_temperature(logits, targets)
    assert fit_temperature(logits[order], targets[order]) == pytest.approx(expected, rel=1e-9)
    assert fit_temperature(logits + 1e3, targets) == pytest.approx(expected, rel=1e-6)
    assert fit_temperature(logits.astype(np.float32), targets.astype(np.int32)) == pytest.approx(expected, rel=1e-5)


def test_a_limit_is_kept_and_explained() -> None:
    logits, _ = honest(100, seed=3)
    always_right, always_wrong = logits.argmax(axis=1), logits.argmin(axis=1)
    assert fit_temperature(logits, always_right) == COLDEST
    assert "wrong enough" in limit_reached(COLDEST)
    assert fit_temperature(logits, always_wrong) == HOTTEST
    assert "chance" in limit_reached(HOTTEST)
    assert limit_reached(fit_temperature(*honest(100, seed=3))) == ""


def test_the_fewest_windows_are_enough() -> None:
    assert COLDEST < fit_temperature(*honest(LEAST_WINDOWS, seed=4)) < HOTTEST


def test_a_class_without_windows_is_no_obstacle() -> None:
    logits, targets = honest(300, seed=4)
    some = targets != 2
    assert COLDEST < fit_temperature(logits[some], targets[some]) < HOTTEST


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, y: (z[: LEAST_WINDOWS - 1], y[: LEAST_WINDOWS - 1]), f"{LEAST_WINDOWS - 1} .* at least"),
        (lambda z, y: (z[:0], y[:0]), "no windows"),
        (lambda z, y: (np.where(np.arange(len(z))[:, None] == 7, np.nan, z), y), "window 7 hold a NaN"),
        (lambda z, y: (np.where(np.arange(len(z))[:, None] == 3, np.inf, z), y), "window 3 hold"),
        (lambda z, y: (z, y + 1), "from 0 to 4"),
        (lambda z, y: (z, y - 1), "from 0 to 4"),
        (lambda z, y: (z, y.astype(np.float64)), "whole numbers"),
        (lambda z, y: (z, y[1:]), r"\[100, 5\] and targets \[99\]"),
        (lambda z, y: (z[:, 0], y), r"\[100\]"),
        (lambda z, y: (z[:, :1], 0 * y), "two classes"),
    ],
)
def test_what_cannot_be_calibrated_with_is_told(change, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_temperature(*change(*honest(100, seed=5)))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([1, 5, 15, 20]), st.floats(0.1, 20))
def test_the_calibration_error_is_that_of_torchmetrics(seed: int, windows: int, bins: int, spread: float) -> None:
    logits, targets = honest(windows, seed, spread=spread)
    # Float32 that saturates: some confidences are exactly 1.
    probabilities = softmax(logits, 1.0).astype(np.float32)
    reference = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(targets), 5, n_bins=bins, norm="l1"
    )
    assert expected_calibration_error(probabilities, targets, bins) == pytest.approx(float(reference), abs=1e-5)


def test_the_calibration_error_by_hand() -> None:
    # Bins [0.4, 0.5) and [0.8, 0.9): gaps |1 - 0.45| and |0.5 - 0.85|.
    probabilities = np.array([[0.45, 0.35, 0.2], [0.85, 0.1, 0.05], [0.1, 0.85, 0.05]])
    targets = np.array([0, 0, 0])
    assert expected_calibration_error(probabilities, targets, bins=10) == pytest.approx((0.55 + 2 * 0.35) / 3)
    bins = confidence_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets, bins=10)
    assert bins.windows[[4, 8]].tolist() == [1, 2]
    assert bins.windows.sum() == 3
    assert bins.accuracy[8] == pytest.approx(0.5)


def test_a_confidence_on_an_edge_belongs_to_the_upper_bin() -> None:
    bins = confidence_bins(np.array([0.5, 0.75, 1.0]), np.array([True, False, True]), bins=4)
    assert bins.windows.tolist() == [0, 0, 1, 1, 1]
    assert bins.accuracy.tolist() == [0, 0, 1, 0, 1]


def test_a_calibrated_model_shows_the_floor_and_a_boastful_one_more() -> None:
    answers = honest(1500, seed=6)
    probabilities = softmax(answers.logits, 1.0)
    floor = ece_floor(probabilities, seed=0)
    assert ece_floor(probabilities, seed=0) == floor
    found = [expected_calibration_error(softmax(z, 1.0), y) for z, y in (honest(1500, seed) for seed in range(100))]
    assert np.mean(found) == pytest.approx(floor, rel=0.1)
    boastful = softmax(answers.logits, 0.4)
    assert expected_calibration_error(boastful, answers.targets) > 3 * ece_floor(boastful, seed=0)


def test_more_windows_lower_the_floor() -> None:
    few, many = (ece_floor(softmax(honest(n, seed=7).logits, 1.0), seed=0) for n in (500, 8000))
    assert few / many == pytest.approx(4, rel=0.25)  # As the square root of the windows.


def test_the_record_says_what_the_temperature_does_on_windows_it_was_not_fitted_on() -> None:
    logits, targets = honest(4000, seed=8)
    temperature = fit_temperature(4 * logits[:2000], targets[:2000])
    test = Answers(4 * logits[2000:], targets[2000:])
    record = confidence_record(*test, temperature)
    assert record.windows == 2000
    assert record.accuracy == np.mean(test.logits.argmax(axis=1) == test.targets)
    assert record.confidence == pytest.approx(scipy_softmax(test.logits / temperature, axis=1).max(axis=1).mean())
    assert record.ece_before == expected_calibration_error(softmax(test.logits, 1.0), test.targets)
    assert record.ece_after < record.ece_before / 2
    assert record.confidence == pytest.approx(record.accuracy, abs=0.03)


def test_a_lost_sensor_lowers_confidence_as_it_lowers_accuracy() -> None:
    # Two sensors of independent evidence about five classes; the seismic one knows less.
    rng = np.random.default_rng(9)
    targets = rng.integers(0, 5, 6000)
    heard = {name: rng.standard_normal((6000, 5)) for name in ("acoustic", "seismic")}
    strength = {"acoustic": 2.0, "seismic": 1.0}
    evidence = {n: strength[n] * (heard[n] + strength[n] * np.eye(5)[targets]) for n in heard}
    # Trained too long, each pattern to its own degree.
    boasts = {"acoustic+seismic": 1.5, "acoustic": 2.5, "seismic": 4.0}
    records = {}
    for pattern, boast in boasts.items():
        logits = boast * np.sum([evidence[name] for name in pattern.split("+")], axis=0)
        temperature = fit_temperature(logits[:3000], targets[:3000])
        assert temperature == pytest.approx(boast, rel=0.1)
        records[pattern] = confidence_record(logits[3000:], targets[3000:], temperature)
    both, acoustic, seismic = records.values()
    assert both.accuracy > acoustic.accuracy > seismic.accuracy
    assert both.confidence > acoustic.confidence > seismic.confidence
    for record in records.values():
        assert record.confidence == pytest.approx(record.accuracy, abs=0.03)


def test_a_record_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no windows"):
        confidence_record(np.zeros((0, 3)), np.zeros(0, np.int64), 1.0)


def test_an_interval_holds_one_where_the_confidence_is_true_and_not_where_it_is_doubled() -> None:
    logits, targets = honest(1500, seed=5)
    recordings = [f"run {i // 5}" for i in range(len(targets))]
    low, high = temperature_interval(logits, targets, recordings, seed=0, draws=60)
    assert low < 1 < high
    twice = temperature_interval(2 * logits, targets, recordings, seed=0, draws=60)
    assert twice == pytest.approx((2 * low, 2 * high), rel=1e-6)


def test_windows_that_repeat_each_other_say_less() -> None:
    logits, targets = honest(200, seed=5)
    apart = temperature_interval(logits, targets, [str(i) for i in range(200)], seed=0, draws=60)
    again = np.repeat(logits, 8, axis=0), np.repeat(targets, 8)
    together = temperature_interval(*again, [str(i // 8) for i in range(1600)], seed=0, draws=60)
    assert together == pytest.approx(apart, rel=0.02)
    blind = temperature_interval(*again, [str(i) for i in range(1600)], seed=0, draws=60)
    assert blind[1] - blind[0] < 0.5 * (apart[1] - apart[0])
