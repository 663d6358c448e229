"""A decoded recording of one sensor: its samples, its rate, its gaps; resampling it and cutting windows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import MissingExtraError
from rep_edge.signals import Stream

ZERO_CROSSINGS = 32
"""Half-width of the resampling filter, in zero crossings of its sinc."""

ROLLOFF = 0.95
"""Corner of the resampling filter as a share of the lower Nyquist frequency."""

BLOCK_S = 20.0
"""Seconds resampled at a time: long recordings need no more memory than their samples."""


class Waveform(NamedTuple):
    """One sensor over one recording.

    samples: float32 [channels, n]; rate_hz: samples per s; gaps: (start, end) in s from the first sample, in which the
    samples are filled in and were never measured.
    """

    samples: NDArray[np.float32]
    rate_hz: float
    gaps: tuple[tuple[float, float], ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in s."""
        return len(self.samples[0]) / self.rate_hz

    def touches_gap(self, start_s: float, end_s: float) -> bool:
        """True where [start_s, end_s) holds a sample that was not measured."""
        slack = 0.5 / self.rate_hz
        return any(start_s + slack < gap_end and end_s - slack > gap_start for gap_start, gap_end in self.gaps)

    def window(self, modality: Stream, start_s: float) -> NDArray[np.float32]:
        """A copy of the window of `modality` that starts at start_s, float32 [channels, samples]; rates must agree."""
        first = math.floor(start_s * self.rate_hz + 1e-6)
        # A label may end up to one sample after the file (rounding): such a window starts that sample earlier.
        first = max(0, min(first, len(self.samples[0]) - modality.samples))
        window: NDArray[np.float32] = self.samples[:, first : first + modality.samples].copy()
        return window


def window_starts(start_s: float, end_s: float, window_s: float, hop_s: float) -> list[float]:
    """Starts in s of the windows of window_s, every hop_s, that lie inside [start_s, end_s] entirely."""
    room = end_s - start_s - window_s
    # A microsecond of slack: the end of a label is a decimal fraction, a window may fill the interval exactly.
    return [start_s + k * hop_s for k in range(math.floor((room + 1e-6) / hop_s) + 1)] if room > -1e-6 else []


def rational_ratio(old_hz: float, new_hz: float) -> Fraction:
    """new_hz / old_hz as a fraction with a denominator of at most 4000; the rates need not be whole."""
    exact = new_hz / old_hz
    for bound in (10, 100, 1000, 4000):
        ratio = Fraction(exact).limit_denominator(bound)
        if abs(ratio / Fraction(exact) - 1) < 1e-8:
            break
    return ratio


def drift_s(waveform: Waveform, rate_hz: float) -> float:
    """Time error in s at the end of the recording that the rounding of the ratio of the rates leaves."""
    ratio = rational_ratio(waveform.rate_hz, rate_hz)
    return float(abs(ratio / Fraction(rate_hz / waveform.rate_hz) - 1)) * waveform.duration_s


def resampled(waveform: Waveform, rate_hz: float) -> Waveform:
    """The waveform at another rate; the first sample stays at 0 s.

    The ends are continued by their last value, so that a constant offset (usual in counts) makes no step there. Gaps
    grow by the reach of the filter: what a filled-in sample touches counts as not measured.
    """
    ratio = rational_ratio(waveform.rate_hz, rate_hz)
    if ratio == 1:
        return waveform._replace(rate_hz=rate_hz)
    reach = ZERO_CROSSINGS / (ROLLOFF * min(waveform.rate_hz, rate_hz))
    gaps = tuple((max(0.0, start - reach), end + reach) for start, end in waveform.gaps)
    return Waveform(
        _filtered(waveform.samples, ratio.denominator, ratio.numerator, waveform.rate_hz, reach), rate_hz, gaps
    )


def _filtered(samples: NDArray[np.float32], old: int, new: int, rate_hz: float, reach_s: float) -> NDArray[np.float32]:
    """`new` output samples for every `old` input samples, block by block, each with its surroundings."""
    try:
        import torch
        from torchaudio.functional import resample
    except ImportError as error:
        raise MissingExtraError("train", "torchaudio") from error
    count = samples.shape[1]
    mean = samples.mean(axis=1, dtype=np.float64)[:, None]
    margin = math.ceil(reach_s * rate_hz / old) + 1
    step = max(1, round(BLOCK_S * rate_hz / old))
    out = np.empty((samples.shape[0], math.ceil(count * new / old)), dtype=np.float32)
    # Margin and step count groups of `old` samples, so that every block starts on a sample of the output.
    for group in range(0, math.ceil(count / old), step):
        index = np.arange((group - margin) * old, (group + step + margin) * old).clip(0, count - 1)
        block = torch.from_numpy((samples[:, index] - mean).astype(np.float32))
        fine = resample(block, old, new, lowpass_filter_width=ZERO_CROSSINGS, rolloff=ROLLOFF).numpy()
        piece = out[:, group * new : (group + step) * new]
        piece[:] = fine[:, margin * new : margin * new + piece.shape[1]] + mean
    return out


def runs_of(mask: NDArray[np.bool_], rate_hz: float) -> tuple[tuple[float, float], ...]:
    """(start, end) in s of every run of True in mask [n]."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return tuple((float(a) / rate_hz, float(b) / rate_hz) for a, b in zip(edges[::2], edges[1::2], strict=True))


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Names for a message: the first few, and how many more."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
