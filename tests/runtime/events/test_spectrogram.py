"""A tone is a line at its frequency, a click a line at its moment, a gap is grey."""

from __future__ import annotations

import re
from importlib import resources

import numpy as np
import pytest

from rep_edge.runtime.events.spectrogram import GAP, RAMP, colours, spectrogram

ROWS, COLUMNS = 100, 200


def ink(image: np.ndarray) -> np.ndarray:
    """How dark it is: 255 less the luminance, [rows, columns]."""
    return np.asarray(255 - image @ np.array([0.30, 0.59, 0.11]))


def noise(seconds: float, rate_hz: float, channels: int = 1) -> np.ndarray:
    n = round(seconds * rate_hz)
    return np.random.default_rng(0).normal(0, 1e-3, (channels, n)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [100.0, 333.33, 16000.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_tone_is_a_line_at_its_frequency(rate_hz: float, share: float) -> None:
    values = noise(20, rate_hz)
    values += np.sin(np.pi * share * np.arange(values.shape[1])).astype(np.float32)
    image = spectrogram(values, rate_hz, ROWS, COLUMNS)
    assert image.shape == (ROWS, COLUMNS, 3)
    assert image.dtype == np.uint8
    row = int(ink(image).mean(axis=1).argmax())
    assert row == pytest.approx((1 - share) * ROWS, abs=3)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_click_is_a_line_at_its_moment(share: float) -> None:
    values = noise(20, 800)
    values[:, round(share * values.shape[1])] = 1
    column = int(ink(spectrogram(values, 800, ROWS, COLUMNS)).mean(axis=0).argmax())
    assert column == pytest.approx(share * COLUMNS, abs=3)


def test_a_click_between_two_columns_is_seen_in_a_long_recording() -> None:
    values = noise(60, 16000)
    values[:, 123_456] = 1
    shown = ink(spectrogram(values, 16000, 20, 50)).mean(axis=0)
    assert shown.argmax() == 123_456 * 50 // values.shape[1]


def test_a_gap_is_grey_and_the_rest_is_not() -> None:
    values = noise(10, 100)
    values[:, 400:600] = np.nan
    grey = (spectrogram(values, 100, ROWS, COLUMNS) == GAP).all(axis=(0, 2))
    assert grey[82:118].all()
    assert not grey[:70].any()
    assert not grey[130:].any()


@pytest.mark.parametrize(
    "values", [np.zeros((1, 0)), np.zeros((1, 10)), np.full((2, 900), np.nan)], ids=["none", "too few", "only a gap"]
)
def test_what_holds_no_window_is_all_grey(values: np.ndarray) -> None:
    assert (spectrogram(values.astype(np.float32), 100, 5, 7) == np.tile(GAP, (5, 7, 1))).all()


def test_silence_is_paper_and_an_offset_is_silence() -> None:
    assert (spectrogram(np.full((1, 1000), 12345, np.float32), 100, 5, 7) == RAMP[0]).all()


def test_channels_are_taken_together() -> None:
    values = noise(20, 100, channels=2)
    values[1] += np.sin(np.pi * 0.5 * np.arange(2000)).astype(np.float32)
    assert ink(spectrogram(values, 100, ROWS, COLUMNS)).mean(axis=1).argmax() == pytest.approx(50, abs=3)


def test_colours_go_from_paper_to_ink_and_never_back() -> None:
    ramp = colours(np.linspace(-0.5, 1.5, 400))
    assert (ramp[0].tolist(), ramp[-1].tolist()) == (RAMP[0].tolist(), RAMP[-1].tolist())
    assert (np.diff(ink(ramp)) >= 0).all()


def test_the_colours_are_those_of_the_page() -> None:
    style = resources.files("rep_edge.runtime.service.web").joinpath("assets/style.css").read_text()
    light = [re.search(rf"--ramp-{i}: #(\w{{6}});", style) for i in range(4)]
    assert [bytes.fromhex(found[1]) for found in light if found] == [bytes(colour) for colour in RAMP.tolist()]
