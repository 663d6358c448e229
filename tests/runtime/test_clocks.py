"""Samples are placed where they were taken, whatever the sensor's clock and the network do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.runtime.clocks import ClockSettings, StreamClock
from rep_edge.runtime.sources.live import Chunk

RATE_HZ = 100.0
EPOCH_S = 1.8e9
LINE_S = 5000.0
"""The common line when the sensor begins."""
NEAR_S = 0.03
SETTLED_S = 60.0


class World(NamedTuple):
    """A sensor and its network. late_s: mean delay; steps: (when, by how much) its clock is set; outages: (from, to)
    nothing passes, and then all at once; lost: the same, and what was held up never comes. twice, swapped: shares of
    the chunks."""

    chunk_s: float = 0.1
    drift: float = 0.0
    late_s: float = 0.02
    steps: Sequence[tuple[float, float]] = ()
    outages: Sequence[tuple[float, float]] = ()
    lost: Sequence[tuple[float, float]] = ()
    twice: float = 0.0
    swapped: float = 0.0


class Placed(NamedTuple):
    """A chunk: when it arrived, when its first sample was taken, when that is thought to have been; own: its stamp."""

    arrived_s: float
    true_s: float
    placed_s: float
    own_s: float


def run(world: World, seconds: float, clock: StreamClock, seed: int = 0) -> list[Placed]:
    """What becomes of all chunks, in the order of arrival; times from the start."""
    rng = np.random.default_rng(seed)
    values = np.zeros((1, round(world.chunk_s * RATE_HZ)), np.float32)
    sent: list[tuple[float, float, float]] = []
    fifo_s = 0.0
    for i in range(round(seconds / world.chunk_s)):
        start_s = i * world.chunk_s
        end_s = start_s + world.chunk_s
        own_s = start_s * (1 + world.drift) + sum(by for at, by in world.steps if start_s >= at)
        if any(begin <= end_s < end for begin, end in world.lost):
            continue
        leaves_s = max([end_s, *(end for begin, end in world.outages if begin <= end_s < end)])
        fifo_s = arrived_s = max(fifo_s, leaves_s + rng.exponential(world.late_s))
        if rng.random() < world.swapped:
            arrived_s += 1.5 * world.chunk_s
        sent.append((arrived_s, start_s, own_s))
        if rng.random() < world.twice:
            sent.append((arrived_s + rng.exponential(0.3), start_s, own_s))
    placed = []
    for arrived_s, start_s, own_s in sorted(sent):
        line_s = clock.place(Chunk(values, EPOCH_S + own_s, RATE_HZ, LINE_S + arrived_s))
        placed.append(Placed(arrived_s, start_s, line_s - LINE_S, own_s))
    return placed


def worst_s(placed: list[Placed], from_s: float, to_s: float = math.inf) -> float:
    return max(abs(p.placed_s - p.true_s) for p in placed if from_s <= p.arrived_s <= to_s)


@settings(deadline=None, max_examples=25)
@given(
    chunk_s=st.sampled_from([0.05, 0.1, 0.5, 1.0]),
    drift=st.floats(-5e-4, 5e-4),
    late_s=st.floats(0.001, 0.05),
    seed=st.integers(0, 99),
)
def test_drift_and_jitter(chunk_s: float, drift: float, late_s: float, seed: int) -> None:
    clock = StreamClock()
    placed = run(World(chunk_s=chunk_s, drift=drift, late_s=late_s), 240, clock, seed)
    assert worst_s(placed, SETTLED_S) < NEAR_S
    # Of the very first chunks nobody knows how long they waited: the ones after them may show that it was long.
    begun = [p.placed_s for p in placed if p.arrived_s > 2.0]
    assert (np.diff(begun) > 0).all(), "time goes on where the sensor's does"
    assert clock.steps == 0
    assert clock.drift_ppm == pytest.approx(1e6 * drift, abs=200)


@settings(deadline=None, max_examples=25)
@given(
    step_s=st.one_of(st.floats(0.3, 10), st.floats(10, 86400)).flatmap(lambda s: st.sampled_from([s, -s])),
    drift=st.sampled_from([-5e-4, -1e-4, 0.0, 3e-4, 5e-4]),
    seed=st.integers(0, 99),
)
def test_a_clock_that_is_set_is_followed_within_four_seconds(step_s: float, drift: float, seed: int) -> None:
    clock = StreamClock()
    placed = run(World(drift=drift, late_s=0.005, steps=[(100.0, step_s)]), 180, clock, seed)
    assert worst_s(placed, SETTLED_S, 100) < NEAR_S
    assert worst_s(placed, 104) < NEAR_S
    assert clock.steps == 1
    assert clock.last_step_s == pytest.approx(step_s, abs=0.1)


@pytest.mark.parametrize("drift", [-5e-4, 0.0, 5e-4])
@pytest.mark.parametrize("kind", ["outages", "lost"])
def test_an_outage_and_the_burst_after_it_move_nothing(drift: float, kind: str) -> None:
    clock = StreamClock()
    world = World(drift=drift)._replace(**{kind: [(100.0, 160.0), (170.0, 175.0)]})
    placed = run(world, 240, clock)
    assert worst_s(placed, SETTLED_S) < NEAR_S
    assert (np.diff([p.placed_s for p in placed]) > 0).all()
    assert clock.steps == 0


def test_chunks_that_come_twice_and_out_of_order() -> None:
    clock = StreamClock()
    placed = run(World(drift=2e-4, twice=0.2, swapped=0.2), 240, clock)
    assert worst_s(placed, SETTLED_S) < NEAR_S
    assert clock.steps == 0
    assert clock.seen_hz == pytest.approx(RATE_HZ, rel=0.01)


def test_what_waited_before_the_sensor_was_opened_is_no_step() -> None:
    clock = StreamClock()
    placed = run(World(outages=[(0.0, 30.0)]), 120, clock)
    assert worst_s(placed, 30.5) < 0.1
    assert worst_s(placed, 90) < NEAR_S
    assert clock.steps == 0


def test_a_sensor_that_came_back_with_another_clock_and_no_leap_back_is_followed_after_a_minute() -> None:
    clock = StreamClock()
    placed = run(World(lost=[(100.0, 200.0)], steps=[(150.0, -40.0)]), 320, clock)
    assert worst_s(placed, 205, 255) == pytest.approx(40, abs=0.1)
    assert worst_s(placed, 265) < NEAR_S
    assert (clock.steps, clock.last_step_s) == (1, pytest.approx(-40, abs=0.1))


def test_one_chunk_with_a_wild_time_costs_three_seconds() -> None:
    clock = StreamClock()
    world = World(late_s=0.001, steps=[(100.0, 1e6), (100.1, -1e6)])
    placed = run(world, 140, clock)
    assert worst_s(placed, 104) < NEAR_S
    assert clock.steps == 2


def test_a_known_delay_is_taken_off() -> None:
    chunk = Chunk(np.zeros((1, 10), np.float32), 7.0, RATE_HZ, 100.0)
    assert StreamClock().place(chunk) == pytest.approx(99.9)
    assert StreamClock(ClockSettings(delay_s=0.4)).place(chunk) == pytest.approx(99.5)
    for delay_s in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="delay_s: must be at least 0"):
            ClockSettings(delay_s=delay_s)


def test_before_anything_came_nothing_is_known() -> None:
    clock = StreamClock()
    assert (clock.offset_s, clock.drift_ppm, clock.seen_hz, clock.last_arrival_s, clock.steps) == (None,) * 4 + (0,)
    run(World(), 5, clock)
    assert clock.offset_s == pytest.approx(LINE_S - EPOCH_S, abs=0.01)
    assert (clock.drift_ppm, clock.seen_hz) == (None, None)
    assert clock.last_arrival_s == pytest.approx(LINE_S + 5, abs=0.2)


def test_times_that_are_no_numbers_leave_the_clock_as_it_was() -> None:
    clock = StreamClock()
    run(World(), 20, clock)
    offset_s = clock.offset_s
    for start_s in (math.nan, math.inf, -math.inf):
        placed_s = clock.place(Chunk(np.zeros((1, 10), np.float32), start_s, RATE_HZ, LINE_S + 20))
        assert placed_s == start_s or math.isnan(placed_s)
    assert clock.offset_s == offset_s


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(-1e10, 1e10), st.integers(1, 1000), st.floats(0, 100)), min_size=1, max_size=60))
def test_whatever_a_sensor_states_every_time_is_a_number(chunks: list[tuple[float, int, float]]) -> None:
    clock, now_s = StreamClock(), 0.0
    for start_s, samples, passed_s in chunks:
        now_s += passed_s
        placed_s = clock.place(Chunk(np.zeros((1, samples), np.float32), start_s, RATE_HZ, now_s))
        assert math.isfinite(placed_s)
    assert clock.offset_s is not None
