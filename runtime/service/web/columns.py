"""A stream as it is drawn: for each few hundredths of a second its lowest and highest sample, and its spectrum."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.service.web.view import Waveform

BANDS = 64
"""Rows of the spectrogram, from the lowest frequency up."""

FLOOR_DB, STEP_DB = -210.0, 1.5
"""A byte b of the spectrogram stands for FLOOR_DB + b STEP_DB, in dB of one unit; 0 for nothing."""

FRAME_S = 0.064
"""Length of a spectrum's frame in s, where that gives from 128 to 2048 samples."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Neighbouring columns of a drawing.

    Column i covers [i column_s, (i + 1) column_s) in s since 1970, whoever asks; first: number of the first one here.
    low, high: lowest and highest sample of any channel in the modality's unit, None where nothing came.
    spectrogram: bytes [columns, bands] of the frames that end with each column, mean power of the channels, up to
    top_hz; as FLOOR_DB and STEP_DB say.
    """

    first: int
    column_s: float
    low: list[float | None]
    high: list[float | None]
    bands: int
    top_hz: float
    floor_db: float
    step_db: float
    spectrogram: bytes


def frame_samples(rate_hz: float) -> int:
    """Samples in the frame of a spectrum: a power of 2, at least one for each band twice."""
    wanted: int = 2 ** max(0, round(math.log2(FRAME_S * rate_hz)))
    return min(max(wanted, 2 * BANDS), 2048)


def columns(waveform: Waveform, column_s: float, since: int | None = None) -> Columns:
    """The whole columns of a waveform, from number `since` on, to the newest one in which something came.

    Columns are wider than asked for where they would hold less than two samples.
    """
    rate_hz = waveform.rate_hz
    column_s = max(column_s, 2 / rate_hz)
    # By the middles of the samples: their own times may lie on a boundary, and be rounded to either side of it.
    times_s = waveform.start_s + (np.arange(waveform.values.shape[1]) + 0.5) / rate_hz
    numbers = np.floor(times_s / column_s).astype(np.int64)
    begins = np.flatnonzero(np.diff(numbers)) + 1  # The first column may have begun before the waveform did,
    ends = begins[1:]  # and the last one may go on after it.
    begins = begins[: ends.size]
    low, high = _extremes(waveform.values, begins, ends)
    kept = np.flatnonzero(np.isfinite(high))
    first = 0 if since is None else int(np.searchsorted(numbers[begins], since))
    stop = max(first, int(kept[-1]) + 1) if kept.size else first
    return Columns(
        first=int(numbers[begins[first]]) if first < begins.size else (since or 0),
        column_s=column_s,
        low=_short(low[first:stop]),
        high=_short(high[first:stop]),
        bands=BANDS,
        top_hz=rate_hz / 2,
        floor_db=FLOOR_DB,
        step_db=STEP_DB,
        spectrogram=_spectra(waveform, ends[first:stop]).tobytes(),
    )


def _extremes(
    values: NDArray[np.float32], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest sample of each column, [columns]; NaN where nothing came."""
    if not begins.size:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    inner = values[:, : ends[-1]]
    low = np.fmin.reduceat(np.fmin.reduce(inner, axis=0), begins)
    high = np.fmax.reduceat(np.fmax.reduce(inner, axis=0), begins)
    return low, high


def _spectra(waveform: Waveform, ends: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Spectra of the frames that end before the samples `ends`: bytes [columns, BANDS]."""
    n = frame_samples(waveform.rate_hz)
    drawn = np.zeros((ends.size, BANDS), dtype=np.uint8)
    full = np.flatnonzero(ends >= n)
    if not full.size:
        return drawn
    frames = np.lib.stride_tricks.sliding_window_view(waveform.values, n, axis=1)[:, ends[full] - n]
    complete = np.isfinite(frames).all(axis=(0, 2))
    full, frames = full[complete], frames[:, complete]
    window = np.hanning(n)
    level = frames - frames.mean(axis=2, keepdims=True)
    amplitudes = np.abs(np.fft.rfft(level * window, axis=2))[:, :, 1:] * 2 / window.sum()
    power = (amplitudes**2).mean(axis=0).reshape(full.size, BANDS, n // 2 // BANDS).max(axis=2)
    decibels = 10 * np.log10(np.maximum(power, 1e-30))
    drawn[full] = np.clip(np.round((decibels - FLOOR_DB) / STEP_DB), 1, 255)
    return drawn


def _short(values: NDArray[np.float32]) -> list[float | None]:
    """Four digits of each number: what a drawing needs."""
    return [float(f"{x:.4g}") if math.isfinite(x) else None for x in values.tolist()]
