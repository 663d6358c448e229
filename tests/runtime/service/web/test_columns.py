"""A stream as it is drawn: the same columns whoever asks when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rep_edge.runtime.service.web.columns import BANDS, FLOOR_DB, STEP_DB, Columns, columns, frame_samples
from rep_edge.runtime.service.web.view import Waveform

START_S = 1_700_000_000.0


def waveform(values: NDArray[np.float64], rate_hz: float = 100.0, start_s: float = START_S) -> Waveform:
    return Waveform(start_s, rate_hz, np.atleast_2d(values).astype(np.float32))


def levels(drawn: Columns) -> NDArray[np.uint8]:
    return np.frombuffer(drawn.spectrogram, np.uint8).reshape(-1, BANDS)


def test_a_column_has_its_lowest_and_highest_sample() -> None:
    drawn = columns(waveform(np.arange(100)), 0.1)
    assert drawn.first == round(START_S / 0.1) + 1
    assert (drawn.low, drawn.high) == ([10, 20, 30, 40, 50, 60, 70, 80], [19, 29, 39, 49, 59, 69, 79, 89])


def test_all_channels_count() -> None:
    drawn = columns(waveform(np.stack([np.full(100, 1.0), np.full(100, -2.0)])), 0.1)
    assert (drawn.low[0], drawn.high[0]) == (-2, 1)


def test_a_gap_is_none_and_what_has_not_come_is_left_out() -> None:
    values = np.ones(100)
    values[30:50] = values[75:] = np.nan
    assert columns(waveform(values), 0.1).high == [1, 1, None, None, 1, 1, 1]


def test_only_what_is_new_is_drawn() -> None:
    whole = columns(waveform(np.arange(100)), 0.1)
    rest = columns(waveform(np.arange(100)), 0.1, whole.first + 5)
    assert (rest.first, rest.low) == (whole.first + 5, whole.low[5:])
    assert rest.spectrogram == whole.spectrogram[5 * BANDS :]
    assert columns(waveform(np.arange(100)), 0.1, whole.first + 8).low == []


def test_slow_streams_have_wider_columns() -> None:
    drawn = columns(waveform(np.arange(30), rate_hz=1.0), 0.05)
    assert drawn.column_s == 2.0
    assert drawn.low == [2.0 * k for k in range(1, 14)]


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_too_short_a_waveform_gives_no_columns(count: int) -> None:
    assert columns(waveform(np.ones(count)), 0.1).low == []


@pytest.mark.parametrize(("rate_hz", "frequency_hz", "amplitude"), [(100.0, 12.0, 3000.0), (16000.0, 1000.0, 0.01)])
def test_a_tone_stands_in_its_band_at_its_level(rate_hz: float, frequency_hz: float, amplitude: float) -> None:
    t = np.arange(4 * int(rate_hz)) / rate_hz
    drawn = levels(columns(waveform(100 + amplitude * np.sin(2 * np.pi * frequency_hz * t), rate_hz), 0.05))[-1]
    assert abs((np.argmax(drawn) + 0.5) * rate_hz / 2 / BANDS - frequency_hz) <= rate_hz / 2 / BANDS
    assert abs(FLOOR_DB + STEP_DB * float(drawn.max()) - 20 * np.log10(amplitude)) < 2.5


def test_a_spectrum_needs_a_whole_frame() -> None:
    values = np.random.default_rng(0).standard_normal(600)
    values[300] = np.nan
    drawn = columns(waveform(values), 0.1)
    whole = levels(drawn).any(axis=1)
    n = frame_samples(100.0)
    ends = [10 * (k + 2) for k in range(len(drawn.low))]
    assert whole.tolist() == [end >= n and not end - n <= 300 < end for end in ends]


@given(
    rate_hz=st.sampled_from([0.5, 1.0, 50.0, 99.97, 100.0, 8000.0]),
    count=st.integers(0, 3000),
    late_s=st.floats(0, 10),
    column_s=st.floats(0.005, 1.0),
    holes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=4),
    since=st.none() | st.integers(-100, 4000),
)
@settings(max_examples=100, deadline=None)
def test_any_waveform_can_be_drawn(rate_hz, count, late_s, column_s, holes, since) -> None:
    values = np.random.default_rng(1).standard_normal(count)
    for start, length in holes:
        values[start : start + length] = np.nan
    first = None if since is None else round(START_S / column_s) + since
    drawn = columns(waveform(values, rate_hz, START_S + late_s), column_s, first)
    assert len(drawn.low) == len(drawn.high) == levels(drawn).shape[0]
    assert all((low is None) == (high is None) for low, high in zip(drawn.low, drawn.high, strict=True))
    if drawn.high:
        assert drawn.high[-1] is not None
    if first is not None and drawn.low:
        assert drawn.first >= first
