"""Split-conformal label sets: as many labels as are needed to hold the true one in a promised share of windows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rep_edge.calibration.confidence import Answers, Floats, Integers, check_answers
from rep_edge.errors import InputError
from rep_edge.runtime.manifest import LabelSetRecord
from rep_edge.runtime.softmax import softmax

ROUNDING = 1e-9
"""What a product of floats may lie above the whole number that it means."""


def label_threshold(probabilities: Floats, targets: Integers, coverage: float) -> float:
    """The lowest probability of a label in a set, 0 to 1.

    probabilities: [n, classes]; targets: [n]; coverage: above 0 and below 1. With the score 1 - p of the true class it
    is one minus the ceil((n + 1) coverage)-th smallest score: a new window of the same kind then has its true class in
    its set with at least that probability, whatever the model is. Raises InputError for a coverage out of range and
    for fewer windows than it needs.
    """
    rank = _rank(len(probabilities), coverage)
    true = np.take_along_axis(probabilities, np.asarray(targets)[:, None], axis=1)[:, 0]
    return float(np.sort(true)[len(true) - rank])


def label_sets(probabilities: Floats, threshold: float) -> NDArray[np.bool_]:
    """Which labels are in the set of each window, [n, classes]: those that reach the threshold, and the top label."""
    chosen = np.asarray(probabilities) >= threshold
    chosen[np.arange(len(chosen)), probabilities.argmax(axis=1)] = True
    return np.asarray(chosen)


def label_set_record(
    coverage: float, temperatures: Mapping[str, float], validation: Mapping[str, Answers], test: Mapping[str, Answers]
) -> LabelSetRecord:
    """Thresholds from validation windows, and what they do on test windows; each mapping has the same patterns.

    A temperature may come from the same validation windows: one number hardly bends them to itself. Raises InputError
    as `label_threshold`, and for answers that cannot be calibrated with.
    """
    thresholds, covered, size = {}, {}, {}
    for pattern, temperature in temperatures.items():
        for answers in (validation[pattern], test[pattern]):
            check_answers(*answers)
        fitted = softmax(validation[pattern].logits, temperature)
        thresholds[pattern] = label_threshold(fitted, validation[pattern].targets, coverage)
        sets = label_sets(softmax(test[pattern].logits, temperature), thresholds[pattern])
        covered[pattern] = float(sets[np.arange(len(sets)), test[pattern].targets].mean())
        size[pattern] = float(sets.sum(axis=1).mean())
    return LabelSetRecord(coverage=coverage, thresholds=thresholds, covered=covered, size=size)


def _rank(windows: int, coverage: float) -> int:
    """ceil((n + 1) coverage), 1 to n."""
    if not 0 < coverage < 1:
        raise InputError(f"coverage: must be above 0 and below 1, not {coverage:g}; 0.9 is usual")
    least = math.ceil(coverage / (1 - coverage) - ROUNDING)
    if windows < least:
        raise InputError(
            f"coverage: {coverage:g} needs at least {least} validation windows and there are {windows}; "
            "give more, or ask for less coverage"
        )
    return max(1, min(windows, math.ceil((windows + 1) * coverage - ROUNDING)))
