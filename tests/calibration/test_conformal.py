"""Label sets: the promised share of windows holds its true class, and the equations beside plain ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from honest import honest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.calibration.confidence import Answers
from rep_edge.calibration.conformal import label_set_record, label_sets, label_threshold
from rep_edge.errors import InputError
from rep_edge.runtime.softmax import softmax


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(20, 400), st.floats(0.05, 0.95))
def test_the_threshold_is_the_corrected_quantile_of_the_scores(seed: int, windows: int, coverage: float) -> None:
    logits, targets = honest(windows, seed)
    probabilities = softmax(logits, 1.0)
    scores = sorted(1 - probabilities[i, target] for i, target in enumerate(targets))
    expected = 1 - scores[math.ceil((windows + 1) * coverage) - 1]
    assert label_threshold(probabilities, targets, coverage) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("boast", [1.0, 5.0])
@pytest.mark.parametrize("coverage", [0.6, 0.9])
def test_sets_cover_as_promised_whatever_the_model(boast: float, coverage: float) -> None:
    """Mean over many calibrations of 99 windows: at least the coverage, and hardly more before the top label is in."""
    covered = []
    for seed in range(400):
        logits, targets = honest(299, seed, spread=0.5)
        probabilities = softmax(boast * logits, 1.0)
        threshold = label_threshold(probabilities[:99], targets[:99], coverage)
        true = probabilities[np.arange(299), targets]
        covered.append(np.mean(true[99:] >= threshold))
        sets = label_sets(probabilities[99:], threshold)
        assert sets[np.arange(200), targets[99:]].mean() >= covered[-1]
    standard_error = np.std(covered) / 20
    assert np.mean(covered) == pytest.approx(coverage, abs=4 * standard_error)  # (n + 1) c is whole: no excess.


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_set_holds_the_top_label_and_all_that_reach_the_threshold(seed: int, threshold: float) -> None:
    probabilities = softmax(honest(30, seed).logits, 1.0)
    reached = float(probabilities[0].min())
    assert label_sets(probabilities, reached)[0].all()
    for row, chosen in zip(probabilities, label_sets(probabilities, threshold), strict=True):
        expected = {k for k in range(5) if row[k] >= threshold} | {int(np.argmax(row))}
        assert set(np.flatnonzero(chosen)) == expected


def test_more_coverage_makes_larger_sets() -> None:
    logits, targets = honest(500, seed=1)
    probabilities = softmax(logits, 1.0)
    sizes = [label_sets(probabilities, label_threshold(probabilities, targets, c)).sum() for c in (0.5, 0.8, 0.95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


def test_the_fewest_windows_that_a_coverage_needs_are_told() -> None:
    logits, targets = honest(9, seed=2)
    probabilities = softmax(logits, 1.0)
    assert label_threshold(probabilities, targets, 0.9) == probabilities[np.arange(9), targets].min()
    with pytest.raises(InputError, match=r"coverage: 0\.9 needs at least 9 validation windows and there are 8"):
        label_threshold(probabilities[:8], targets[:8], 0.9)
    with pytest.raises(InputError, match=r"at least 99 .* there are 9"):
        label_threshold(probabilities, targets, 0.99)


@pytest.mark.parametrize("percent", [1, 7, 10, 50, 55, 70, 80, 90, 95])
def test_rounding_of_floats_never_takes_one_window_too_many(percent: int) -> None:
    for windows in range(1, 120):
        rank = -(-(windows + 1) * percent // 100)  # In whole numbers.
        true = np.linspace(0.9, 0.1, windows)
        probabilities, targets = np.stack([true, 1 - true], axis=1), np.zeros(windows, np.int64)
        if rank > windows:
            with pytest.raises(InputError, match="needs at least"):
                label_threshold(probabilities, targets, percent / 100)
        else:
            assert label_threshold(probabilities, targets, percent / 100) == true[rank - 1]


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5, 90.0, math.nan, math.inf])
def test_a_coverage_that_is_no_share_is_refused(coverage: float) -> None:
    with pytest.raises(InputError, match="coverage: must be above 0 and below 1"):
        label_threshold(np.full((50, 2), 0.5), np.zeros(50, np.int64), coverage)


def test_the_record_says_what_the_sets_do_on_test_windows() -> None:
    validation = {"acoustic": honest(999, seed=3), "seismic": honest(999, seed=4, spread=1.0)}
    test = {"acoustic": honest(4000, seed=5), "seismic": honest(4000, seed=6, spread=1.0)}
    temperatures = {"acoustic": 1.0, "seismic": 1.2}
    record = label_set_record(0.9, temperatures, validation, test)
    assert record.coverage == 0.9
    assert set(record.thresholds) == set(record.covered) == set(record.size) == set(temperatures)
    for pattern, temperature in temperatures.items():
        probabilities = softmax(test[pattern].logits, temperature)
        fitted = softmax(validation[pattern].logits, temperature)
        threshold = label_threshold(fitted, validation[pattern].targets, 0.9)
        sets = [set(np.flatnonzero(row >= threshold)) | {int(row.argmax())} for row in probabilities]
        assert record.thresholds[pattern] == threshold
        inside = [target in chosen for target, chosen in zip(test[pattern].targets, sets, strict=True)]
        assert record.covered[pattern] == pytest.approx(np.mean(inside))
        assert record.size[pattern] == pytest.approx(np.mean([len(chosen) for chosen in sets]))
        assert 0.87 < record.covered[pattern] < 0.93
    assert record.size["seismic"] > record.size["acoustic"]


def test_answers_that_cannot_be_used_are_refused() -> None:
    good, bad = honest(100, seed=7), honest(100, seed=8)
    bad.logits[4, 0] = np.nan
    for sides in ((good, bad), (bad, good), (good, Answers(good.logits, good.targets + 3))):
        with pytest.raises(InputError, match="calibration: "):
            label_set_record(0.9, {"acoustic": 1.0}, *({"acoustic": side} for side in sides))
