"""Honest confidence: one temperature for each pattern, and how far confidence then is from accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from rep_edge.errors import InputError
from rep_edge.runtime.manifest import ConfidenceRecord
from rep_edge.runtime.softmax import softmax

COLDEST, HOTTEST = 0.1, 10.0
"""Limits of a fitted temperature. Networks that learned anything are found well inside."""
LEAST_WINDOWS = 50
"""So few windows leave a temperature a quarter too high or too low; with fewer, 1 is as good a guess."""
BINS = 15
DRAWS = 200
RESAMPLES = 200
"""Of the recordings, for an interval."""

Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.integer[Any]]


class Answers(NamedTuple):
    """What one pattern's graph says about some windows: logits, float [n, classes], and the true classes, int [n]."""

    logits: Floats
    targets: Integers


class ConfidenceBins(NamedTuple):
    """Windows sorted by confidence into bins of equal width: float64 [bins + 1] each, zeros where a bin is empty.

    windows: how many; confidence, accuracy: means in a bin. The last bin holds a confidence of exactly 1 alone.
    """

    windows: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def fit_temperature(logits: Floats, targets: Integers) -> float:
    """The temperature T at which softmax(logits / T) gives the targets the highest likelihood.

    logits: [n, classes]; targets: [n]. The likelihood is convex in 1 / T, so the answer is where its slope crosses
    zero: the same answer every time. Between COLDEST and HOTTEST; `limit_reached` tells what a limit means. Raises
    InputError for fewer than LEAST_WINDOWS windows, a NaN or infinity, and targets that are no class.
    """
    check_answers(logits, targets)
    if len(logits) < LEAST_WINDOWS:
        raise InputError(
            f"temperature: {len(logits)} validation windows are too few to fit it on, at least {LEAST_WINDOWS} are "
            "needed; give more"
        )
    values = np.asarray(logits, dtype=np.float64)
    true = _of_target(values, targets)

    def slope(inverse: float) -> float:
        """Of the mean negative log-likelihood over 1 / T: expected logit minus the true one."""
        return float(np.mean((softmax(values, 1 / inverse) * values).sum(axis=1) - true))

    if slope(1 / HOTTEST) >= 0:
        return HOTTEST
    if slope(1 / COLDEST) <= 0:
        return COLDEST
    return float(1 / brentq(slope, 1 / HOTTEST, 1 / COLDEST, xtol=1e-12))


def temperature_interval(
    logits: Floats, targets: Integers, recordings: Sequence[str], seed: int, draws: int = RESAMPLES
) -> tuple[float, float]:
    """95 % bootstrap interval of the fitted temperature over recordings drawn with replacement.

    logits: [n, classes]; targets: [n]; recordings: the recording of each window. Windows of one recording resemble each
    other, so that they say less than as many from many. An interval with 1 in it says that the probabilities are as
    good as these windows can tell. Raises InputError as `fit_temperature`.
    """
    _, number = np.unique(np.asarray(recordings), return_inverse=True)
    windows = [np.flatnonzero(number == k) for k in range(number.max() + 1)]
    rng = np.random.default_rng(seed)
    fitted = []
    for _ in range(draws):
        rows = np.concatenate([windows[k] for k in rng.integers(0, len(windows), len(windows))])
        fitted.append(fit_temperature(logits[rows], targets[rows]))
    low, high = np.quantile(fitted, (0.025, 0.975))
    return float(low), float(high)


class ChosenTemperature(NamedTuple):
    """A pattern's temperature, the most likely one, and the 95 % interval of that over recordings."""

    temperature: float
    best: float
    low: float
    high: float


def choose_temperature(
    logits: Floats, targets: Integers, recordings: Sequence[str], seed: int, draws: int = RESAMPLES
) -> ChosenTemperature:
    """The most likely temperature, or 1 where the windows cannot tell that it is better: `temperature_interval`.

    Raises InputError as `fit_temperature`.
    """
    best = fit_temperature(logits, targets)
    low, high = temperature_interval(logits, targets, recordings, seed, draws)
    return ChosenTemperature(1.0 if low <= 1 <= high else best, best, low, high)


def limit_reached(temperature: float) -> str:
    """Why a fitted temperature stands at a limit, for people; "" where it does not."""
    if temperature >= HOTTEST:
        return "the logits say no more about the validation windows than chance"
    if temperature <= COLDEST:
        return "no validation window is wrong enough to bound the confidence: give more or harder ones"
    return ""


def confidence_bins(confidence: Floats, right: NDArray[np.bool_], bins: int = BINS) -> ConfidenceBins:
    """Sort windows into bins. confidence: top probability [n], 0 to 1; right: whether the top label is true, [n]."""
    index = np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="right") - 1
    windows, sums, hits = (
        np.bincount(index, values, bins + 1).astype(np.float64) for values in (np.ones(len(index)), confidence, right)
    )
    filled = np.maximum(windows, 1)
    return ConfidenceBins(windows, sums / filled, hits / filled)


def expected_calibration_error(probabilities: Floats, targets: Integers, bins: int = BINS) -> float:
    """Mean distance of accuracy from confidence, bin by bin, weighted by windows: 0 to 1.

    probabilities: [n, classes]; targets: [n]. Bins as torchmetrics has them, so that evaluation says the same.
    """
    return _error(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets, bins)


def ece_floor(probabilities: Floats, seed: int, draws: int = DRAWS) -> float:
    """The calibration error that is chance alone: mean ECE of a perfect model with these probabilities [n, classes].

    True classes are drawn from the probabilities, `draws` times. An ECE near it cannot be told from 0 with so many
    windows. Windows are drawn independently; those of one recording resemble each other, which lifts it a little more.
    """
    confidence, rng = probabilities.max(axis=1), np.random.default_rng(seed)
    return float(np.mean([_error(confidence, rng.random(len(confidence)) < confidence, BINS) for _ in range(draws)]))


def confidence_record(logits: Floats, targets: Integers, temperature: float) -> ConfidenceRecord:
    """How honest a temperature makes a pattern on windows that it was not fitted on.

    logits: [n, classes]; targets: [n]. Raises InputError for no windows, a NaN or infinity, and targets that are no
    class.
    """
    check_answers(logits, targets)
    before, after = softmax(logits, 1.0), softmax(logits, temperature)
    return ConfidenceRecord(
        windows=len(logits),
        ece_before=expected_calibration_error(before, targets),
        ece_after=expected_calibration_error(after, targets),
        accuracy=float(np.mean(logits.argmax(axis=1) == targets)),
        confidence=float(after.max(axis=1).mean()),
    )


def check_answers(logits: Floats, targets: Integers) -> None:
    """Raises InputError where logits [n, classes] and targets [n] cannot be calibrated with."""
    if logits.ndim != 2 or logits.shape[1] < 2 or targets.shape != logits.shape[:1]:
        raise InputError(
            f"calibration: logits {list(logits.shape)} and targets {list(targets.shape)} must be [windows, classes] "
            "with two classes or more, and [windows]; give them so"
        )
    if not len(logits):
        raise InputError("calibration: there are no windows; give some")
    if not np.isfinite(logits).all():
        worst = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise InputError(f"calibration: the logits of window {worst} hold a NaN or an infinity; look at that window")
    if not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise InputError(
            f"calibration: targets must be whole numbers from 0 to {logits.shape[1] - 1}, one of the classes each; "
            "use the labels that the model was trained with"
        )


def _of_target(values: NDArray[np.float64], targets: Integers) -> NDArray[np.float64]:
    """The column of each row's target, [n]."""
    return np.asarray(np.take_along_axis(values, np.asarray(targets)[:, None], axis=1)[:, 0])


def _error(confidence: Floats, right: NDArray[np.bool_], bins: int) -> float:
    found = confidence_bins(confidence, right, bins)
    return float((found.windows * abs(found.accuracy - found.confidence)).sum() / len(confidence))
