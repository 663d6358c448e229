"""The ring of a stream holds what came, where it came, whatever the chunks are like."""

from __future__ import annotations

import numpy as np
import pytest
from bundles import MAGNETIC, SEISMIC
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.errors import InputError
from rep_edge.runtime.streams import StreamBuffer, checked_chunk
from rep_edge.signals import Stream

TINY = Stream(name="tiny", rate_hz=10, samples=8, channels=2)
HISTORY_S = 1.2


def line(start: int, stop: int, modality: Stream = SEISMIC) -> np.ndarray:
    """Samples whose value is their place."""
    return np.tile(np.arange(start, stop, dtype=np.float32), (modality.channels, 1))


def filled(slack_s: float = 0.0, bridge_s: float = 0.0) -> StreamBuffer:
    """A second and a half of the seismic stream."""
    buffer = StreamBuffer(SEISMIC, 2.0, slack_s, bridge_s)
    buffer.push(line(0, 100), 0.0)
    buffer.push(line(100, 150), 1.0)
    return buffer


def test_nothing_came() -> None:
    cut = StreamBuffer(SEISMIC, 1.0, 0.0, 0.0).cut(5.0)
    assert (cut.received, cut.silent, cut.begun) == (0, 100, False)
    assert not cut.values.any()


def test_a_window_that_is_there() -> None:
    cut = filled().cut(1.3)
    np.testing.assert_array_equal(cut.values, line(30, 130))
    assert (cut.received, cut.silent, cut.begun) == (100, 0, True)


def test_a_window_that_ends_later_than_the_stream() -> None:
    cut = filled().cut(1.75)
    np.testing.assert_array_equal(cut.values, np.concatenate([line(75, 150), np.zeros((1, 25))], axis=1))
    assert (cut.received, cut.silent) == (75, 25)


def test_a_window_that_begins_before_the_stream() -> None:
    cut = filled().cut(0.4)
    np.testing.assert_array_equal(cut.values[0, 60:], line(0, 40)[0])
    assert (cut.received, cut.silent) == (40, 0)


def test_a_gap_stays_a_gap_and_is_filled_by_what_comes_late() -> None:
    buffer = filled()
    buffer.push(line(170, 200), 1.7)
    assert (buffer.cut(2.0).received, buffer.cut(2.0).silent) == (80, 0)
    buffer.push(line(150, 170), 1.5)
    np.testing.assert_array_equal(buffer.cut(2.0).values, line(100, 200))


@pytest.mark.parametrize("early", [-0.012, 0.0, 0.012])
@pytest.mark.parametrize("late", [-0.012, 0.0, 0.012])
def test_a_late_chunk_fills_its_gap_edge_to_edge_though_time_stamps_jitter(early: float, late: float) -> None:
    buffer = filled(slack_s=0.02, bridge_s=0.04)
    buffer.push(line(175, 200), 1.75 + early)
    assert buffer.gaps == 1
    buffer.push(line(150, 175), 1.5 + late)
    cut = buffer.cut(1.98)
    assert cut.received == 100
    assert buffer.gaps == 0
    np.testing.assert_allclose(cut.values, line(98, 198), atol=1.3)


def test_late_chunks_fill_a_long_gap_one_after_the_other() -> None:
    buffer = filled(slack_s=0.02, bridge_s=0.04)
    buffer.push(line(200, 220), 2.0)
    buffer.push(line(150, 175), 1.505)
    assert buffer.cut(2.2).received < 100
    buffer.push(line(175, 200), 1.745)
    np.testing.assert_array_equal(buffer.cut(2.2).values, line(120, 220))
    assert buffer.gaps == 0


def test_what_came_first_stays() -> None:
    buffer = filled()
    buffer.push(-line(120, 180), 1.2)
    expected = np.concatenate([line(100, 150), -line(150, 180)], axis=1)
    np.testing.assert_array_equal(buffer.cut(1.8).values[:, 20:], expected)


def test_jitter_of_time_stamps_is_no_gap() -> None:
    buffer = filled(slack_s=0.02)
    for start in range(150, 250, 10):
        buffer.push(line(start, start + 10), start / 100 + 0.019 * (-1) ** (start // 10))
    np.testing.assert_array_equal(buffer.cut(2.5).values, line(150, 250))


def test_a_short_gap_is_bridged_by_a_straight_line() -> None:
    buffer = filled(slack_s=0.0, bridge_s=0.05)
    buffer.push(line(155, 200), 1.55)
    np.testing.assert_allclose(buffer.cut(2.0).values, line(100, 200))
    buffer.push(line(206, 220), 2.06)
    assert buffer.cut(2.2).received == 94


def test_gaps_are_counted_and_what_was_filled_is_marked() -> None:
    buffer = filled(bridge_s=0.05)
    assert (buffer.gaps, buffer.filled, buffer.cut(1.5).filled) == (0, 0, 0)
    buffer.push(line(155, 200), 1.55)
    buffer.push(line(206, 220), 2.06)
    assert (buffer.gaps, buffer.filled) == (1, 1)
    assert [buffer.cut(end_s).filled for end_s in (1.5, 1.52, 1.6, 2.2, 2.53, 2.6)] == [0, 2, 5, 5, 2, 0]
    for i in range(100):
        buffer.push(line(0, 10), 2.22 + i * 0.12)
    assert buffer.filled == 101
    assert buffer.cut(buffer.end_s or 0).filled > 0
    buffer.restart()
    buffer.push(line(0, 200), 0.0)
    assert buffer.cut(2.0).filled == 0


def test_what_is_older_than_the_ring_is_forgotten() -> None:
    buffer = StreamBuffer(SEISMIC, 0.5, 0.0, 0.0)
    for start in range(0, 1000, 50):
        buffer.push(line(start, start + 50), start / 100)
    assert buffer.cut(1.0).received == 0
    np.testing.assert_array_equal(buffer.cut(9.6).values, line(860, 960))
    buffer.push(line(0, 50), 0.0)
    np.testing.assert_array_equal(buffer.cut(10.0).values, line(900, 1000))


def test_a_long_silence_leaves_nothing_old_behind() -> None:
    buffer = filled()
    buffer.push(line(5000, 5010), 50.0)
    cut = buffer.cut(50.1)
    assert cut.received == 10
    assert not cut.values[0, :90].any()


def test_a_new_time_line() -> None:
    buffer = filled()
    buffer.restart()
    assert buffer.end_s is None
    buffer.push(line(0, 50), -100.0)
    assert (buffer.end_s, buffer.cut(-99.5).received) == (-99.5, 50)


def test_times_of_day_are_as_exact_as_any() -> None:
    fast = Stream(name="fast", rate_hz=8000, samples=16000)
    buffer = StreamBuffer(fast, 1.0, 0.0, 0.0)
    for i in range(30):
        buffer.push(line(800 * i, 800 * (i + 1)), 1.8e9 + i / 10)
    np.testing.assert_array_equal(buffer.cut(1.8e9 + 3).values, line(8000, 24000))


@settings(deadline=None, max_examples=200)
@given(
    chunks=st.lists(st.tuples(st.integers(-40, 120), st.integers(0, 8)), min_size=1, max_size=30),
    ends=st.lists(st.integers(-40, 140), min_size=1, max_size=5),
)
def test_as_a_plain_table_of_samples(chunks: list[tuple[int, int]], ends: list[int]) -> None:
    buffer = StreamBuffer(TINY, HISTORY_S, 0.0, 0.0)
    size = 12 + 2 * TINY.samples
    table: dict[int, float] = {}
    newest: int | None = None
    for number, (start, length) in enumerate(chunks):
        values = np.full((2, length), number + 1, np.float32)
        buffer.push(values, start / 10)
        newest = start + length if newest is None else max(newest, start + length)
        table = {at: value for at, value in table.items() if at >= newest - size}
        for at in range(max(start, newest - size), start + length):
            table.setdefault(at, number + 1)
    for end in ends:
        wanted = [table.get(at, 0.0) for at in range(end - 8, end)]
        cut = buffer.cut(end / 10)
        np.testing.assert_array_equal(cut.values, [wanted, wanted])
        assert cut.received == sum(at in table for at in range(end - 8, end))


def test_chunks_are_arrays_of_numbers() -> None:
    assert checked_chunk(SEISMIC, np.arange(5, dtype=np.int32)).dtype == np.float32
    assert checked_chunk(MAGNETIC, np.zeros((3, 7))).shape == (3, 7)
    assert np.isinf(checked_chunk(SEISMIC, np.array([1e300]))).all()
    for bad in ([1.0], np.zeros(3, complex), np.zeros(3, bool), np.array(["a"]), np.zeros(3, object), None):
        with pytest.raises(InputError, match="seismic: a chunk must be an array of numbers"):
            checked_chunk(SEISMIC, bad)
    for shape in ((), (2, 5), (1, 1, 5)):
        with pytest.raises(InputError, match="seismic: a chunk has shape"):
            checked_chunk(SEISMIC, np.zeros(shape))
    with pytest.raises(InputError, match="magnetic: a chunk has shape"):
        checked_chunk(MAGNETIC, np.zeros(5))
