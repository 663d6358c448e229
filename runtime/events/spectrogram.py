"""A picture of a waveform: its power over time and frequency, for people."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GAP = np.array([206, 208, 206], dtype=np.uint8)
"""Grey: nothing came, which is not the same as silence."""

RAMP = np.array([[244, 247, 245], [169, 213, 200], [47, 143, 136], [10, 47, 78]])
"""Colours of the page's live spectrograms, from the weakest to the strongest."""

LEAST_DB = 20.0
"""Range of the colours in dB at least, so that even noise does not look like a signal."""


def spectrogram(values: NDArray[np.float32], rate_hz: float, rows: int, columns: int) -> NDArray[np.uint8]:
    """The log power of a waveform [channels, n] as an image, uint8 [rows, columns, 3].

    Left to right is time; the top row is half of `rate_hz`, the bottom row next to 0 Hz. Power is averaged over
    channels. Hann windows as fine in time as in frequency, about sqrt(2 n) samples long. Samples that are not finite
    are a gap and make grey columns. The colours reach from the 5th to the 99.9th percentile of the picture.
    """
    image = np.tile(GAP, (rows, columns, 1))
    size = 2 ** round(math.log2(max(16.0, math.sqrt(2 * values.shape[1]))))
    if values.shape[1] < size:
        return image
    came = np.isfinite(values).all(axis=0)
    if not came.any():
        return image
    level = values[:, came].mean(axis=1, keepdims=True, dtype=np.float64)
    waveform = np.where(came, values - level, 0.0)
    # Mirrored ends, so that the first and the last column are the first and the last moment.
    waveform = np.pad(waveform, ((0, 0), (size // 2, size // 2)), mode="reflect")
    came = np.pad(came, size // 2, mode="reflect")
    hop = max(1, min(size // 2, values.shape[1] // columns))
    whole = np.lib.stride_tricks.sliding_window_view(came, size)[::hop].all(axis=1)
    power = _power(waveform, size, hop)
    power[~whole] = np.nan
    shown = _shrunk(_shrunk(power, columns).T, rows)[::-1]
    drawn = np.isfinite(shown)
    if drawn.any():
        decibels = 10 * np.log10(shown[drawn] + np.finfo(np.float32).tiny)
        low, high = np.percentile(decibels, (5, 99.9))
        image[drawn] = colours((decibels - low) / max(high - low, LEAST_DB))
    return image


def _power(waveform: NDArray[np.float64], size: int, hop: int) -> NDArray[np.float64]:
    """Mean power over channels without 0 Hz, [frames, size / 2]; channel by channel, to save memory."""
    window = np.hanning(size)
    power = np.zeros((1 + (waveform.shape[1] - size) // hop, size // 2))
    for channel in waveform:
        frames = np.lib.stride_tricks.sliding_window_view(channel, size)[::hop]
        power += np.abs(np.fft.rfft(frames * window, axis=1)[:, 1:]) ** 2
    return power / len(waveform)


def _shrunk(power: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The first axis brought to `count`: means of neighbours where it is longer, repeated where it is shorter."""
    starts = np.arange(count) * len(power) // count
    lengths = np.maximum(np.diff(starts, append=len(power)), 1)
    return np.asarray(np.add.reduceat(power, starts, axis=0) / lengths[:, None])


def colours(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Shares 0 to 1 as colours from paper to ink, uint8 [n, 3]: straight lines between those of `RAMP`."""
    at = np.linspace(0.0, 1.0, len(RAMP))
    rgb = [np.interp(shares, at, channel) for channel in RAMP.T]
    return np.asarray(np.rint(np.stack(rgb, axis=-1)), dtype=np.uint8)
