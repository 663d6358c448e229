"""Sentiment scores by hand and against scikit-learn; what is done with a label of 0 is told by the name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from rep_edge import sentiment_metrics as metrics

Score = Callable[[NDArray[Any], NDArray[Any]], float]
ALL: tuple[Score, ...] = (
    metrics.acc2_nonneg,
    metrics.acc2_nonzero,
    metrics.acc2_positive,
    metrics.f1_nonneg,
    metrics.f1_nonzero,
    metrics.f1_positive,
    metrics.acc7,
    metrics.acc5,
    metrics.acc5_sims,
    metrics.acc3_sims,
    metrics.mae,
    metrics.pearson,
)
PREDICTED = np.array([-1.0, 0.0, 0.5, -0.2, 2.0, 0.0])
TARGET = np.array([-2.0, 0.0, 0.0, 0.4, 1.0, -1.0])


def test_by_hand() -> None:
    # Right sides: nonneg - 0 0 . + . ; nonzero - . . . + - (0 counts as below) ; positive - 0 . . + 0
    assert metrics.acc2_nonneg(PREDICTED, TARGET) == pytest.approx(4 / 6)
    assert metrics.acc2_nonzero(PREDICTED, TARGET) == pytest.approx(3 / 4)
    assert metrics.acc2_positive(PREDICTED, TARGET) == pytest.approx(4 / 6)
    # nonzero: labels - + + -, said - - + -: F1 of - is 4 / 5, of + is 2 / 3.
    assert metrics.f1_nonzero(PREDICTED, TARGET) == pytest.approx((2 * 4 / 5 + 2 * 2 / 3) / 4)
    assert metrics.mae(PREDICTED, TARGET) == pytest.approx((1 + 0 + 0.5 + 0.6 + 1 + 1) / 6)


def test_the_conventions_differ_in_zero_alone() -> None:
    zeros, below, above = np.zeros(4), np.full(4, -0.1), np.full(4, 0.1)
    assert (metrics.acc2_nonneg(above, zeros), metrics.acc2_nonneg(below, zeros)) == (1, 0)
    assert (metrics.acc2_positive(above, zeros), metrics.acc2_positive(below, zeros)) == (0, 1)
    assert (metrics.acc2_nonzero(above, zeros), metrics.f1_nonzero(above, zeros)) == (0, 0)
    target = np.array([-1.0, 1.0, -2.0, 2.0])
    predicted = np.array([-1.0, -1.0, -1.0, 1.0])
    assert metrics.acc2_nonneg(predicted, target) == metrics.acc2_nonzero(predicted, target) == 0.75
    assert metrics.f1_nonneg(predicted, target) == metrics.f1_positive(predicted, target)


def test_whole_numbers() -> None:
    target = np.array([-3.0, -2.4, 0.4, 1.6, 3.0])
    predicted = np.array([-9.0, -1.6, -0.4, 1.4, 2.6])
    assert metrics.acc7(predicted, target) == pytest.approx(4 / 5)
    assert metrics.acc5(predicted, target) == pytest.approx(4 / 5)
    assert metrics.acc7(np.array([2.5]), np.array([2.0])) == 1  # half to even
    assert metrics.acc5(np.array([3.0]), np.array([2.0])) == 1


def test_intervals_of_ch_sims() -> None:
    labels = np.linspace(-1, 1, 11).astype(np.float32)  # -1.0, -0.8, ... 1.0: all that the set has
    five = [0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4]
    centres = np.array([-0.9, -0.4, 0.0, 0.4, 0.9])[five]
    assert metrics.acc5_sims(centres, labels) == 1
    assert metrics.acc3_sims(np.sign(centres) * 0.5, labels) == 1
    ends = np.array([-0.7, -0.1, 0.1, 0.7], np.float32)
    assert metrics.acc5_sims(ends, np.array([-1.0, -0.5, 0.0, 0.5], np.float32)) == 1
    assert metrics.acc5_sims(ends + 0.01, np.array([-0.5, 0.0, 0.5, 1.0])) == 1


values = npst.arrays(
    np.float32, st.integers(2, 40), elements=st.integers(-35, 35).map(lambda n: n / 10) | st.floats(-4, 4, width=32)
)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), target=values)
def test_against_scikit_learn(data: st.DataObject, target: NDArray[np.float32]) -> None:
    predicted = data.draw(npst.arrays(np.float32, target.shape, elements=st.floats(-4, 4, width=32) | st.just(0.0)))
    nonzero = target != 0
    for name, p, y in (
        ("nonneg", predicted >= 0, target >= 0),
        ("nonzero", predicted[nonzero] > 0, target[nonzero] > 0),
        ("positive", predicted > 0, target > 0),
    ):
        if y.size:
            assert getattr(metrics, f"acc2_{name}")(predicted, target) == pytest.approx(accuracy_score(y, p))
            f1 = f1_score(y, p, average="weighted", zero_division=0)
            assert getattr(metrics, f"f1_{name}")(predicted, target) == pytest.approx(f1)
    for score, limit in ((metrics.acc7, 3), (metrics.acc5, 2)):
        p, y = (np.round(np.clip(part, -limit, limit)).astype(int) for part in (predicted, target))
        assert score(predicted, target) == pytest.approx(accuracy_score(y, p))


def test_pearson_against_numpy() -> None:
    rng = np.random.default_rng(0)
    target = rng.standard_normal(100)
    predicted = (0.3 * target + rng.standard_normal(100)).astype(np.float32)
    assert metrics.pearson(predicted, target) == pytest.approx(np.corrcoef(predicted, target)[0, 1])
    assert metrics.pearson(-2 * target + 1, target) == -1
    assert metrics.pearson(1e-200 * target, 1e200 * target) == pytest.approx(1)


@pytest.mark.filterwarnings("error")
def test_all_alike_has_no_correlation_and_no_warning() -> None:
    alike, target = np.full(5, 0.1, np.float32), np.array([1.0, -1.0, 0.0, 2.0, -2.0])
    assert metrics.pearson(alike, target) == 0
    assert metrics.pearson(target, alike) == 0
    assert metrics.pearson(np.array([1.0]), np.array([1.0])) == 0
    for score in ALL:
        assert np.isfinite(score(alike, target))
        assert np.isfinite(score(np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize("score", ALL)
def test_right_is_best_and_the_order_of_samples_does_not_matter(score: Score) -> None:
    target = np.array([-2.9, -1.0, -0.3, 0.8, 2.2])
    assert score(target, target) == pytest.approx(0 if score is metrics.mae else 1)
    order = np.array([3, 1, 4, 0, 2])
    assert score(PREDICTED[order], TARGET[order]) == pytest.approx(score(PREDICTED[:5], TARGET[:5]))
    assert isinstance(score(PREDICTED, TARGET), float)


@pytest.mark.parametrize("score", ALL)
def test_shapes(score: Score) -> None:
    assert score(PREDICTED[:, None], TARGET[:, None]) == score(PREDICTED, TARGET)
    for predicted, target in ((PREDICTED[:, None], TARGET), (PREDICTED[:2], TARGET), (np.zeros(0), np.zeros(0))):
        with pytest.raises(ValueError, match="must be alike and not empty"):
            score(predicted, target)
