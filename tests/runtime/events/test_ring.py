"""The ring of a stream gives back what came, where it came, and NaN for all else."""

from __future__ import annotations

import threading

import numpy as np
from bundles import SEISMIC
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.runtime.events.ring import Ring
from rep_edge.signals import Stream

PAIR = Stream(name="pair", rate_hz=10, samples=8, channels=2)


def line(start: int, stop: int, modality: Stream = SEISMIC) -> np.ndarray:
    """Samples whose value is their place."""
    return np.tile(np.arange(start, stop, dtype=np.float32), (modality.channels, 1))


def filled() -> Ring:
    """The seconds 1 to 3 of the seismic stream, in a ring of 2 s."""
    ring = Ring(SEISMIC, 2.0)
    for start in range(0, 300, 50):
        ring.push(line(start, start + 50), start / 100)
    return ring


def test_nothing_came() -> None:
    assert np.isnan(Ring(SEISMIC, 2.0).cut(1.0, 2.0)).all()


def test_a_cut_that_is_there() -> None:
    np.testing.assert_array_equal(filled().cut(1.25, 2.5), line(125, 250))


def test_a_cut_beyond_both_ends() -> None:
    cut = filled().cut(0.5, 3.5)
    np.testing.assert_array_equal(cut[:, 50:250], line(100, 300))
    assert np.isnan(cut[:, :50]).all()
    assert np.isnan(cut[:, 250:]).all()


def test_a_cut_is_a_copy() -> None:
    ring = filled()
    ring.cut(1.0, 2.0)[:] = 7
    np.testing.assert_array_equal(ring.cut(1.0, 2.0), line(100, 200))


def test_a_cut_that_ends_before_it_starts_is_empty() -> None:
    assert filled().cut(2.0, 1.0).shape == (1, 0)


def test_a_gap_stays_a_gap_until_it_is_filled_late_and_what_came_first_stays() -> None:
    ring = filled()
    ring.push(line(330, 350), 3.3)
    np.testing.assert_array_equal(np.isnan(ring.cut(2.9, 3.5))[0], [False] * 10 + [True] * 30 + [False] * 20)
    ring.push(-line(290, 330), 2.9)
    np.testing.assert_array_equal(ring.cut(2.9, 3.0), line(290, 300))
    np.testing.assert_array_equal(ring.cut(3.0, 3.3), -line(300, 330))


def test_time_stamps_that_jitter_tear_nothing() -> None:
    ring = Ring(SEISMIC, 4.0)
    for number, jitter_s in enumerate([0.0, 0.018, -0.015, 0.01]):
        ring.push(line(50 * number, 50 * number + 50), 0.5 * number + jitter_s)
    np.testing.assert_array_equal(ring.cut(0.0, 2.0), line(0, 200))


def test_a_small_gap_is_a_clock_that_drifts_and_is_bridged() -> None:
    ring = filled()
    ring.push(line(303, 350), 3.03)
    np.testing.assert_allclose(ring.cut(2.9, 3.5), line(290, 350))


def test_a_chunk_longer_than_the_ring_leaves_its_end() -> None:
    ring = Ring(SEISMIC, 2.0)
    ring.push(line(0, 1000), 0.0)
    np.testing.assert_array_equal(ring.cut(8.0, 10.0), line(800, 1000))


def test_a_leap_forward_forgets_and_a_time_line_set_back_begins_anew() -> None:
    ring = filled()
    ring.push(line(0, 100), 1e6)
    assert np.isnan(ring.cut(1.0, 3.0)).all()
    ring.push(line(300, 400), 3.0)
    np.testing.assert_array_equal(ring.cut(3.0, 4.0), line(300, 400))
    assert np.isnan(ring.cut(1e6, 1e6 + 1)).all()


def test_a_thread_may_cut_while_another_pushes() -> None:
    ring, stop = Ring(SEISMIC, 2.0), threading.Event()
    wrong: list[np.ndarray] = []

    def look() -> None:
        while not stop.is_set():
            cut = ring.cut(0.0, 20.0)
            came = ~np.isnan(cut)
            if not np.array_equal(cut[came], line(0, 2000)[came]):
                wrong.append(cut)

    reader = threading.Thread(target=look)
    reader.start()
    for start in range(0, 2000, 10):
        ring.push(line(start, start + 10), start / 100)
    stop.set()
    reader.join()
    assert wrong == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=12))
@settings(max_examples=80, deadline=None)
def test_any_chunks_give_what_a_plain_list_holds(chunks: list[tuple[int, int]]) -> None:
    """Chunks begin on whole samples, so that there is no jitter; a gap is never so short as to be bridged (0.4 s)."""
    ring = Ring(PAIR, 3.0)
    held: dict[int, float] = {}
    end = None
    for number, (start, length) in enumerate(chunks):
        ring.push(np.full((2, length), number, dtype=np.float32), start / 10)
        if end is None or start + length <= end - 30:
            held, end = {}, start
        for place in range(start, start + length):
            held.setdefault(place, number)
        end = max(end, start + length)
        held = {place: value for place, value in held.items() if place >= end - 30}
    expected = [held.get(place, np.nan) for place in range(80)]
    np.testing.assert_array_equal(ring.cut(0.0, 8.0), [expected, expected])
