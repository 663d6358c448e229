"""A stream at another rate becomes one at the modality's, without a seam, soon, and as if it had come at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.sources.resampling import StreamingResampler
from rep_edge.signals import Stream

RATES = [(48000.0, 8000.0), (44100.0, 8000.0), (200.0, 100.0), (50.0, 100.0), (100.5, 100.0), (99.9, 333.3)]


def modality(rate_hz: float, channels: int = 1) -> Stream:
    return Stream(name="m", rate_hz=rate_hz, samples=100, channels=channels)


def cut(values: NDArray[np.float32], rate_hz: float, lengths: Iterable[int], start_s: float = 0.0) -> list[Chunk]:
    """The samples in chunks of these lengths, and then the rest."""
    edges = [0, *np.minimum(np.cumsum(list(lengths)), values.shape[1]), values.shape[1]]
    return [
        Chunk(values[:, a:b], start_s + a / rate_hz, rate_hz, start_s + b / rate_hz)
        for a, b in itertools.pairwise(edges)
        if b > a
    ]


def resampled(resampler: StreamingResampler, chunks: Iterable[Chunk]) -> list[Chunk]:
    return [made for chunk in chunks for made in resampler.push(chunk)] + resampler.flush()


def joined(chunks: Iterable[Chunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.values for chunk in chunks], axis=1)


def sine(rate_hz: float, wanted_hz: float, seconds: float = 3.0) -> tuple[NDArray[np.float32], float]:
    """A tone in the middle of what both rates hold, on a constant."""
    tone_hz = 0.3 * min(rate_hz, wanted_hz)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (np.sin(2 * np.pi * tone_hz * t) + 2).astype(np.float32)[None], tone_hz


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), RATES)
def test_a_tone_keeps_its_phase_across_chunks(rate_hz: float, wanted_hz: float) -> None:
    values, tone_hz = sine(rate_hz, wanted_hz)
    made = resampled(StreamingResampler(modality(wanted_hz)), cut(values, rate_hz, [max(1, round(0.1 * rate_hz))] * 30))
    t = made[0].start_s + np.arange(joined(made).size) / wanted_hz
    inner = slice(round(0.5 * wanted_hz), -round(0.5 * wanted_hz))
    assert np.abs(joined(made)[0] - 2 - np.sin(2 * np.pi * tone_hz * t))[inner].max() < 5e-4


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), RATES)
def test_it_is_what_resampling_at_once_gives(rate_hz: float, wanted_hz: float) -> None:
    values, _ = sine(rate_hz, wanted_hz)
    made = joined(resampled(StreamingResampler(modality(wanted_hz)), cut(values, rate_hz, [7, 1, 1000, 13])))[0]
    at_once = soxr.resample(values[0], rate_hz, wanted_hz, quality="VHQ")
    assert abs(made.size - at_once.size) <= 1
    inner = slice(round(wanted_hz), -round(wanted_hz))
    length = min(made.size, at_once.size)
    assert np.abs(made[:length] - at_once[:length])[inner].max() < 2e-3


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), [*RATES, (192000.0, 100.0)])
def test_it_holds_back_a_quarter_of_a_second_at_most(rate_hz: float, wanted_hz: float) -> None:
    values, _ = sine(rate_hz, wanted_hz, seconds=1.5)
    resampler = StreamingResampler(modality(wanted_hz))
    sent_s = 0.0
    for chunk in cut(values, rate_hz, [max(1, round(0.05 * rate_hz))] * 30):
        sent_s += sum(made.values.shape[1] for made in resampler.push(chunk)) / wanted_hz
        assert chunk.start_s + chunk.values.shape[1] / rate_hz - sent_s <= 0.25 + 1e-9


def test_what_the_new_rate_cannot_hold_does_not_fold_back() -> None:
    t = np.arange(2 * 8000) / 8000
    values = np.sin(2 * np.pi * 60 * t).astype(np.float32)[None]
    made = joined(resampled(StreamingResampler(modality(100)), cut(values, 8000, [800] * 20)))[0]
    assert np.abs(made[50:-50]).max() < 10 ** (-70 / 20)


def test_a_constant_stays_one_to_the_edges() -> None:
    values = np.full((2, 4410), 16000, np.float32)
    made = joined(resampled(StreamingResampler(modality(8000, channels=2)), cut(values, 44100, [441] * 10)))
    assert made.shape == (2, 800)
    np.testing.assert_allclose(made, 16000, rtol=1e-6)


def test_chunks_at_the_modalitys_rate_pass_untouched() -> None:
    (chunk,) = cut(np.ones((1, 10), np.float32), 99.9998, [])
    (made,) = StreamingResampler(modality(100)).push(chunk)
    assert made.values is chunk.values
    assert (made.rate_hz, made.start_s, made.arrived_s) == (100, chunk.start_s, chunk.arrived_s)


def test_times_are_those_of_the_samples_whatever_is_held_back() -> None:
    values, _ = sine(200, 100)
    made = resampled(StreamingResampler(modality(100)), cut(values, 200, [20] * 30, start_s=1e9))
    assert made[0].start_s == 1e9
    for one, following in itertools.pairwise(made):
        assert following.start_s == pytest.approx(one.start_s + one.values.shape[1] / 100, abs=1e-6)
    for chunk in made:
        # Each chunk "arrived" with its own last sample, and not with the ones that it had to wait for.
        assert chunk.arrived_s == pytest.approx(chunk.start_s + chunk.values.shape[1] / 100, abs=0.006)


def test_a_gap_ends_the_signal_and_begins_another() -> None:
    values, _ = sine(200, 100, seconds=1)
    resampler = StreamingResampler(modality(100))
    before, after = cut(values, 200, [])[0], cut(values, 200, [], start_s=1.5)[0]
    first = resampler.push(before)
    tail, second = resampler.push(after)
    assert sum(chunk.values.shape[1] for chunk in (*first, tail)) == 100
    assert second.start_s == 1.5
    np.testing.assert_array_equal(second.values, first[0].values)


@pytest.mark.parametrize(("late_s", "seams"), [(0.015, 1), (-0.015, 1), (0.03, 2), (-0.03, 2)])
def test_jitter_is_no_gap(late_s: float, seams: int) -> None:
    values, _ = sine(200, 100, seconds=2)
    first, second = cut(values, 200, [200])
    made = StreamingResampler(modality(100))
    made.push(first)
    assert len(made.push(second._replace(start_s=second.start_s + late_s))) == seams


def test_a_clock_that_drifts_against_its_samples_is_followed_without_a_seam() -> None:
    values, _ = sine(200, 100, seconds=10)
    drifted = [chunk._replace(start_s=chunk.start_s * 1.01) for chunk in cut(values, 200, [20] * 100)]
    resampler = StreamingResampler(modality(100))
    made = [resampler.push(chunk) for chunk in drifted]
    assert all(len(chunks) <= 1 for chunks in made)
    (last,) = made[-1]
    assert last.start_s == pytest.approx(drifted[-1].start_s - 0.24, abs=0.02)


def test_another_rate_begins_anew() -> None:
    values, _ = sine(200, 100, seconds=1)
    resampler = StreamingResampler(modality(100))
    resampler.push(cut(values, 200, [])[0])
    tail, untouched = resampler.push(cut(values, 100, [], start_s=1)[0])
    assert (tail.values.shape[1], untouched.values.shape[1]) == (24, 200)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 300), max_size=30), rate_hz=st.floats(20, 2000))
def test_how_it_is_cut_does_not_matter(lengths: list[int], rate_hz: float) -> None:
    values = np.random.default_rng(0).normal(0, 1, (1, 600)).astype(np.float32)
    whole = joined(resampled(StreamingResampler(modality(100)), cut(values, rate_hz, [])))
    parts = joined(resampled(StreamingResampler(modality(100)), cut(values, rate_hz, lengths)))
    assert parts.shape == whole.shape
    np.testing.assert_allclose(parts, whole, atol=1e-4)
