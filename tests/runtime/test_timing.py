"""Times of calls beside one another: who is called when, which calls count, and the figures made of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import groupby

import numpy as np
import pytest

from rep_edge.runtime.timing import WARM_UP, Times, interleave, percentiles, ratio


class Clock:
    """Variants that note when they are called, each with its own duration in s; time passes in nothing else."""

    def __init__(self, patch: pytest.MonkeyPatch, **durations: float) -> None:
        self.now, self.calls = 0.0, [""]
        self.durations = durations
        patch.setattr(time, "perf_counter", lambda: self.now)

    def variants(self) -> dict[str, Callable[[], object]]:
        return {name: partial(self.call, name) for name in self.durations}

    def call(self, name: str) -> None:
        """The first call of a turn takes 100 s longer."""
        self.now += self.durations[name] + 100 * (self.calls[-1] != name)
        self.calls.append(name)


def test_each_variant_is_called_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, a=1, b=2, c=3)
    interleave(clock.variants(), rounds=7, repeats=3)
    assert Counter(clock.calls[1:]) == dict.fromkeys("abc", WARM_UP + 7 * (1 + 3))


def test_the_first_call_of_each_turn_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    times = interleave(Clock(monkeypatch, a=1, b=2, c=3).variants(), rounds=20, repeats=4)
    for name, duration in (("a", 1), ("b", 2), ("c", 3)):
        np.testing.assert_allclose(times[name], np.full((20, 4), duration))


def orders(monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> list[tuple[str, ...]]:
    """The order of each of 30 rounds, after the warm-up."""
    clock = Clock(monkeypatch, a=1, b=1, c=1, d=1)
    interleave(clock.variants(), rounds=30, repeats=1, seed=seed)
    after = clock.calls[1 + 4 * WARM_UP :]
    return [tuple(after[i : i + 8 : 2]) for i in range(0, len(after), 8)]


def test_the_order_is_drawn_anew_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = orders(monkeypatch)
    assert len(drawn) == 30
    assert all(sorted(order) == ["a", "b", "c", "d"] for order in drawn)
    assert len(set(drawn)) > 10
    assert max(len(list(same)) for _, same in groupby(drawn)) <= 3
    assert all(len({order[place] for order in drawn}) == 4 for place in range(4))


def test_the_seed_decides_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert orders(monkeypatch) == orders(monkeypatch)
    assert orders(monkeypatch) != orders(monkeypatch, seed=1)


def test_real_time_is_measured() -> None:
    times = interleave({"nap": lambda: time.sleep(0.002), "nothing": lambda: None}, rounds=3, repeats=2)
    assert times["nap"].min() >= 0.002
    assert np.median(times["nothing"]) < 0.001


def test_percentiles_are_milliseconds_over_all_calls() -> None:
    times: Times = np.arange(101.0)[np.random.default_rng(0).permutation(101)][:100].reshape(20, 5) / 1e3
    found = percentiles(times)
    expected = np.sort(times, axis=None)[[49, 50]].mean() * 1e3
    assert found.p50 == pytest.approx(expected)
    assert found.p95 == pytest.approx(np.percentile(1e3 * times, 95))
    assert found.p99 == pytest.approx(np.percentile(1e3 * times, 99))
    whole = percentiles(np.arange(101.0).reshape(101, 1) / 1e3)
    assert (whole.p50, whole.p95, whole.p99) == pytest.approx((50, 95, 99))


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine is ten times as slow in every second round: the ratio of each round is what it would be at rest.
    slow = np.where(np.arange(40) % 2, 10.0, 1.0)[:, None]
    found = ratio(3 * slow * np.ones((1, 5)), 2 * slow * np.ones((1, 5)))
    assert (found.median, found.p5, found.p95) == pytest.approx((1.5, 1.5, 1.5))


def test_a_slow_call_in_a_round_does_not_move_its_ratio() -> None:
    times = np.ones((10, 5))
    times[:, 2] = 1000.0
    assert ratio(times, np.ones((10, 3))).median == 1.0


def test_the_spread_of_a_ratio_is_that_of_the_rounds() -> None:
    times: Times = np.random.default_rng(1).permutation(np.arange(101.0))[:, None]
    found = ratio(times, np.ones((101, 1)))
    assert (found.median, found.p5, found.p95) == pytest.approx((50, 5, 95))
