"""Any sampling rate to the modality's while samples come: a windowed sinc that holds back no more than it needs."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.sources.recording import same_rate
from rep_edge.signals import Stream

DELAY_S = 0.24
"""Seconds that a sample is held back: a filter of one length in samples would hold back slow streams for long."""

MOST_LOBES = 32
"""Zero crossings of the sinc on either side: 4 ms at 8000 Hz. DELAY_S allows 24 at 100 Hz, 12 at 50 Hz.
It is never less than 4, which takes longer below 17 Hz."""

ATTENUATION_DB = 70.0
"""What folds back is weaker by so much."""

JITTER_S = 0.02
"""Seconds, beside half a sample, by which a time stamp may be off for the chunk still to follow on."""

_PER_LOBE = 4096
"""Phases of the filter between two zero crossings. The nearest one is taken, which errs by less than ATTENUATION_DB."""

_BLOCK = 1 << 20
"""Products of samples and filter at once."""


class StreamingResampler:
    """Chunks as a sensor delivers them to chunks at the modality's rate.

    Chunks that follow on make one signal, phase and all, whatever their lengths. A gap, a leap of the time stamps or
    another rate ends it: what was held back comes out, and the next one begins. Rates need not be whole. A sensor at
    the modality's rate passes untouched.

    The filter is a sinc in a Kaiser window (Kaiser, 1974: beta and width of the transition from the attenuation). At
    100 Hz it passes up to 40 Hz and is silent from 50 Hz on; at 8000 Hz, up to 3.4 kHz and from 4 kHz on.
    """

    def __init__(self, modality: Stream) -> None:
        self._modality = modality
        self._signal: _Signal | None = None

    def push(self, chunk: Chunk) -> list[Chunk]:
        """What this chunk completes, at most two: the end of the signal before it, and its own part of the next."""
        signal = self._signal
        ended = [] if signal is None or signal.goes_on_with(chunk) else self.flush()
        if same_rate(chunk.rate_hz, self._modality.rate_hz):
            return [*ended, chunk._replace(rate_hz=self._modality.rate_hz)]
        if self._signal is None:
            self._signal = _Signal(chunk, self._modality)
        return [*ended, *self._signal.push(chunk)]

    def flush(self) -> list[Chunk]:
        """What was held back: the signal has ended."""
        signal, self._signal = self._signal, None
        return [] if signal is None else signal.end()


class _Signal:
    """Samples without a gap. Before the first and after the last, the signal is taken to stay as it is there."""

    def __init__(self, first: Chunk, modality: Stream) -> None:
        self._in_hz, self._out_hz = first.rate_hz, modality.rate_hz
        self._filter = _filter(first.rate_hz, modality.rate_hz)
        reach = self._filter.reach
        # Samples from number `_begin` on; numbers count from the first one of the signal.
        self._held, self._begin = np.repeat(first.values[:, :1], reach, axis=1), -reach
        self._came, self._sent = 0, 0
        self._zero_s, self._latest = first.start_s, first

    def goes_on_with(self, chunk: Chunk) -> bool:
        latest = self._latest
        expected_s = latest.start_s + latest.values.shape[1] / latest.rate_hz
        slack_s = JITTER_S + 0.5 / latest.rate_hz
        return chunk.rate_hz == latest.rate_hz and abs(chunk.start_s - expected_s) <= slack_s

    def push(self, chunk: Chunk) -> list[Chunk]:
        # The latest time stamp is believed, so that a clock that drifts against its samples is followed.
        self._zero_s = chunk.start_s - self._came / self._in_hz
        self._latest = chunk
        self._came += chunk.values.shape[1]
        self._held = np.concatenate([self._held, chunk.values], axis=1)
        return self._take(self._came - self._filter.reach)

    def end(self) -> list[Chunk]:
        tail = np.repeat(self._held[:, -1:], self._filter.reach, axis=1)
        self._held = np.concatenate([self._held, tail], axis=1)
        return self._take(self._came)

    def _take(self, stop: int) -> list[Chunk]:
        """All that is not sent yet and lies before input sample `stop`."""
        last = math.ceil(stop * self._out_hz / self._in_hz)
        if last <= self._sent:
            return []
        at = np.arange(self._sent, last) * (self._in_hz / self._out_hz)
        start_s = self._zero_s + self._sent / self._out_hz
        values = self._filter.apply(self._held, self._begin, at)
        self._sent = last
        begin = math.floor(last * (self._in_hz / self._out_hz)) - self._filter.reach
        self._held, self._begin = self._held[:, max(0, begin - self._begin) :].copy(), max(begin, self._begin)
        # What is held back is no delay of the sensor.
        held_s = max(0.0, self._came / self._in_hz - last / self._out_hz)
        return [Chunk(values, start_s, self._out_hz, self._latest.arrived_s - held_s)]


@lru_cache(maxsize=8)
def _filter(in_hz: float, out_hz: float) -> _Filter:
    """A filter takes 0.1 s and 1 MB to make; streams of the same rates share it, and a gap needs no new one."""
    return _Filter(in_hz, out_hz)


class _Filter:
    """The sinc between two rates, at every phase that matters. reach: input samples that it needs on either side."""

    def __init__(self, in_hz: float, out_hz: float) -> None:
        low_hz = min(in_hz, out_hz)
        lobes = int(min(MOST_LOBES, max(4.0, DELAY_S * low_hz)))
        # Kaiser: the transition's width in shares of low_hz; it ends at half of low_hz.
        width = (ATTENUATION_DB - 7.95) / (14.36 * 2 * lobes)
        beta = 0.1102 * (ATTENUATION_DB - 8.7)
        self.reach = math.ceil(lobes * in_hz / low_hz)
        self._phases = math.ceil(_PER_LOBE * low_hz / in_hz)
        phase = np.arange(self._phases + 1)[:, None] / self._phases
        x = (phase - np.arange(1 - self.reach, self.reach + 1)) * (low_hz / in_hz)
        window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (x / lobes) ** 2)))
        rows = np.sinc((1 - width) * x) * np.where(np.abs(x) <= lobes, window, 0.0)
        # Without it the constant part of a signal would ripple with the phase.
        self._rows = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)

    def apply(self, values: NDArray[np.float32], begin: int, at: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """The signal at these positions, in samples: [channels, len(at)]. values: samples from number `begin` on."""
        around = np.lib.stride_tricks.sliding_window_view(values, 2 * self.reach, axis=1)
        first = np.floor(at).astype(np.int64)
        phase = np.rint((at - first) * self._phases).astype(np.int64)
        size = max(1, _BLOCK // (2 * self.reach))
        made = np.empty((values.shape[0], at.size), dtype=np.float32)
        for i in range(0, at.size, size):
            part = slice(i, i + size)
            taken, rows = around[:, first[part] - begin - self.reach + 1], self._rows[phase[part]]
            made[:, part] = np.einsum("cnk,nk->cn", taken, rows)
        return made
