"""Scores of predicted sentiments against labelled ones, each by the convention that its name says.

Published figures differ by what they do with a label of 0, so each accuracy is of one convention:

| | two sides | samples | who |
|---|---|---|---|
| nonneg | below 0, and 0 or above | all | MMSA's and LNLN's "has 0" |
| nonzero | below 0, and above 0 | labels other than 0 | their "non 0"; MPLMM on CMU-MOSI and CMU-MOSEI |
| positive | 0 or below, and above 0 | all | MMSA and MPLMM on CH-SIMS |

A prediction of exactly 0 is on the side of 0: above in nonneg, below in the other two. F1 is of these two classes,
weighted by their labels. Everywhere: predicted and target are real numbers of one shape, at least one, and accuracy and
F1 run from 0 to 1. Raises ValueError for other shapes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.floating[Any]]
Sides: TypeAlias = NDArray[np.bool_]

_SIMS_3 = (-0.1, 0.1)
_SIMS_5 = (-0.7, -0.1, 0.1, 0.7)
"""Upper ends, included, of all of CH-SIMS's intervals but the last (MMSA)."""


def acc2_nonneg(predicted: Values, target: Values) -> float:
    """Share of all samples on the right side: below 0, or 0 and above."""
    return _accuracy(*_nonneg(predicted, target))


def acc2_nonzero(predicted: Values, target: Values) -> float:
    """Share of the samples labelled other than 0 on the right side of it; 0.0 where there are none."""
    return _accuracy(*_nonzero(predicted, target))


def acc2_positive(predicted: Values, target: Values) -> float:
    """Share of all samples on the right side: 0 and below, or above 0."""
    return _accuracy(*_positive(predicted, target))


def f1_nonneg(predicted: Values, target: Values) -> float:
    """Weighted F1 of all samples: below 0, or 0 and above."""
    return _weighted_f1(*_nonneg(predicted, target))


def f1_nonzero(predicted: Values, target: Values) -> float:
    """Weighted F1 of the samples labelled other than 0; 0.0 where there are none."""
    return _weighted_f1(*_nonzero(predicted, target))


def f1_positive(predicted: Values, target: Values) -> float:
    """Weighted F1 of all samples: 0 and below, or above 0."""
    return _weighted_f1(*_positive(predicted, target))


def acc7(predicted: Values, target: Values) -> float:
    """Share of samples that round to the label's whole number from -3 to 3 (half to even, as numpy and MMSA round)."""
    return _rounded_accuracy(predicted, target, 3)


def acc5(predicted: Values, target: Values) -> float:
    """As `acc7`, from -2 to 2."""
    return _rounded_accuracy(predicted, target, 2)


def acc5_sims(predicted: Values, target: Values) -> float:
    """Share in the label's interval of CH-SIMS: up to -0.7, up to -0.1, up to 0.1, up to 0.7, above (MMSA)."""
    return _interval_accuracy(predicted, target, _SIMS_5)


def acc3_sims(predicted: Values, target: Values) -> float:
    """Share in the label's interval of CH-SIMS: up to -0.1, up to 0.1, above (MMSA)."""
    return _interval_accuracy(predicted, target, _SIMS_3)


def mae(predicted: Values, target: Values) -> float:
    """Mean absolute error, in the labels' unit. Less is better."""
    p, y = _checked(predicted, target)
    return float(np.abs(p - y).mean())


def pearson(predicted: Values, target: Values) -> float:
    """Correlation, -1 to 1; 0.0 where predictions or labels are all alike, which have none."""
    p, y = _checked(predicted, target)
    if np.ptp(p) == 0 or np.ptp(y) == 0:
        return 0.0
    p, y = p - p.mean(), y - y.mean()
    # Scaled first, so that squares of very small or very large numbers stay numbers.
    p, y = p / np.abs(p).max(), y / np.abs(y).max()
    return float(np.clip(p @ y / np.sqrt((p @ p) * (y @ y)), -1, 1))


def _checked(predicted: Values, target: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if predicted.shape != target.shape or not target.size:
        raise ValueError(f"predictions {predicted.shape} and targets {target.shape} must be alike and not empty")
    return predicted.ravel().astype(np.float64), target.ravel().astype(np.float64)


def _nonneg(predicted: Values, target: Values) -> tuple[Sides, Sides]:
    p, y = _checked(predicted, target)
    return p >= 0, y >= 0


def _nonzero(predicted: Values, target: Values) -> tuple[Sides, Sides]:
    p, y = _checked(predicted, target)
    return p[y != 0] > 0, y[y != 0] > 0


def _positive(predicted: Values, target: Values) -> tuple[Sides, Sides]:
    p, y = _checked(predicted, target)
    return p > 0, y > 0


def _accuracy(predicted: NDArray[Any], target: NDArray[Any]) -> float:
    return float((predicted == target).mean()) if target.size else 0.0


def _weighted_f1(predicted: Sides, target: Sides) -> float:
    """F1 of each side, weighted by how many labels are on it."""
    if not target.size:
        return 0.0
    total = 0.0
    for side in (False, True):
        labelled, said = target == side, predicted == side
        if labelled.any():
            total += labelled.sum() * 2 * (labelled & said).sum() / (labelled.sum() + said.sum())
    return float(total / target.size)


def _rounded_accuracy(predicted: Values, target: Values, limit: int) -> float:
    p, y = _checked(predicted, target)
    return _accuracy(np.round(p.clip(-limit, limit)), np.round(y.clip(-limit, limit)))


def _interval_accuracy(predicted: Values, target: Values, ends: tuple[float, ...]) -> float:
    """Ends belong to the interval below them; float32's nearest to an end counts as the end."""
    p, y = _checked(predicted, target)
    return _accuracy(_interval(p, ends), _interval(y, ends))


def _interval(values: NDArray[np.float64], ends: tuple[float, ...]) -> NDArray[np.intp]:
    return np.searchsorted(np.asarray(ends, np.float32), values.astype(np.float32), side="left")
