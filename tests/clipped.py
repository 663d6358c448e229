"""Tracks and their waveforms, for tests of clips."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from bundles import PAIR
from numpy.typing import NDArray

from rep_edge.runtime.events.event import Event
from rep_edge.signals import WindowSpec

START_S = 1_700_000_000.25
"""When the recordings start, in s since 1970."""

Waveforms = dict[str, NDArray[np.float32]]


def end_of(track: str, label: str = "truck", start_s: float = START_S + 2, end_s: float = START_S + 6) -> Event:
    """The last message about a track of 4 s."""
    return Event(
        id=f"{track}.1",
        track=track,
        node="north-gate",
        phase="end",
        label=label,
        confidence=0.3,
        peak=0.9,
        start_s=start_s,
        end_s=end_s,
        pattern="acoustic+seismic",
        windows=7,
        clip=track,
    )


def waveforms(seconds: float = 8.0, spec: WindowSpec = PAIR, seed: int = 0) -> Waveforms:
    """Noise in full scale, and whole counts."""
    rng = np.random.default_rng(seed)
    made: Waveforms = {}
    for m in spec.modalities:
        noise = rng.standard_normal((m.channels, round(seconds * m.rate_hz)))
        made[m.name] = (0.1 * noise if m.unit == "full scale" else np.rint(1000 * noise)).astype(np.float32)
    return made


def wait_until(done: Callable[[], bool]) -> None:
    """Poll until it is so; AssertionError after 10 s."""
    deadline_s = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline_s, "it took too long"
        time.sleep(0.002)
