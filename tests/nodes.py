"""Nodes on toy bundles for tests: their settings, chunks as sensors would deliver them, and the loop around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from bundles import LABELS, PAIR
from numpy.typing import NDArray

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.events.tracking import TrackSettings
from rep_edge.runtime.health import HealthLimits
from rep_edge.runtime.service.node import ClipSpan, Node, NodeSettings
from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.symptoms import Limits
from rep_edge.runtime.windows import StreamSettings
from rep_edge.signals import WindowSpec

EAGER = TrackSettings(threshold=0.34, onset_windows=1, onset_of=1, smoothing_windows=0, min_duration_s=0, ignore=())
"""Three classes: nearly every window is a track's."""
CLIP = ClipSpan(before_s=1.0, after_s=0.5, longest_s=5.0)


def settings(
    tracks: TrackSettings = EAGER,
    clip: ClipSpan | None = None,
    spec: WindowSpec = PAIR,
    delays_s: Mapping[str, float] | None = None,
) -> NodeSettings:
    limits = {name: Limits(HealthLimits(), stuck_s=0.5, clipped=0.1, largest=1e12) for name in spec.names}
    return NodeSettings(StreamSettings(), limits, tracks, delays_s or {}, clip)


def make_node(name: str = "yard", **changes: object) -> Node:
    return Node(name, PAIR, LABELS, settings(**changes))  # type: ignore[arg-type]


def noise(spec: WindowSpec = PAIR, seconds: float = 60.0, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {
        m.name: rng.standard_normal((m.channels, round(seconds * m.rate_hz)), dtype=np.float32) for m in spec.modalities
    }


def chunks(
    values: Mapping[str, NDArray[np.float32]],
    spec: WindowSpec = PAIR,
    begin_s: float = 0.0,
    own_s: float = 0.0,
    chunk_s: float = 0.1,
) -> Iterator[tuple[str, Chunk]]:
    """What sensors deliver in turn. begin_s: on the common line; own_s: what their own clocks show then."""
    count = round(next(iter(values.values())).shape[1] / spec[next(iter(values))].rate_hz / chunk_s)
    for number in range(count):
        for name, samples in values.items():
            rate_hz = spec[name].rate_hz
            start, stop = round(number * chunk_s * rate_hz), round((number + 1) * chunk_s * rate_hz)
            yield name, Chunk(samples[:, start:stop], own_s + start / rate_hz, rate_hz, begin_s + stop / rate_hz)


def phases(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.label, event.phase) for event in events]
