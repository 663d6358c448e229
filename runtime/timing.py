"""How long calls take beside one another, on a machine that is never quite still."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Times: TypeAlias = NDArray[np.float64]
"""Seconds of one call each, [rounds, repeats]."""

WARM_UP = 5
"""Calls of each variant before the first round."""


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds below which half, 95 % and 99 % of the calls took."""

    p50: float
    p95: float
    p99: float


class Ratio(msgspec.Struct, frozen=True):
    """How many times as long one call takes as another: the median over rounds, and where 90 % of the rounds lie."""

    median: float
    p5: float
    p95: float


def interleave(calls: Mapping[str, Callable[[], object]], rounds: int, repeats: int, seed: int = 0) -> dict[str, Times]:
    """Time all calls in one run. Every round takes each of them `repeats` times in a row, in an order drawn anew.

    What slows the machine for a while slows all variants of a round. The first call of each turn is not counted: it
    finds the caches full of another variant's weights.
    """
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    rng = np.random.default_rng(seed)
    times = {name: np.empty((rounds, repeats)) for name in calls}
    names = list(calls)
    for number in range(rounds):
        for name in rng.permutation(names):
            call, row = calls[name], times[name][number]
            call()
            for i in range(repeats):
                began = time.perf_counter()
                call()
                row[i] = time.perf_counter() - began
    return times


def percentiles(times: Times) -> Percentiles:
    """Over all calls of all rounds."""
    return Percentiles(*(float(p) for p in np.percentile(1e3 * times, (50, 95, 99))))


def ratio(times: Times, reference: Times) -> Ratio:
    """Of the rounds' median times, round by round."""
    by_round = np.median(times, axis=1) / np.median(reference, axis=1)
    low, middle, high = (float(p) for p in np.percentile(by_round, (5, 50, 95)))
    return Ratio(median=middle, p5=low, p95=high)
