"""What the service says of itself, gathered from its parts."""

from __future__ import annotations

from collections.abc import Mapping

from rep_edge.runtime.service.node import Node
from rep_edge.runtime.service.status import NodeStatus, StreamStatus
from rep_edge.runtime.sources.feed import Feed

NO_DATE_S = 10 * 365 * 86400.0
"""A clock that is further off does not tell the date: it counts from when it was switched on."""


def node_status(node: Node, feeds: Mapping[str, Feed], now_s: float, wall_offset_s: float) -> NodeStatus:
    """One node as it is now. Called by the thread that owns the node."""
    latest, counts = node.latest, node.counts
    return NodeStatus(
        name=node.name,
        windows=counts.windows,
        without=counts.without,
        pattern=latest.pattern if latest else "",
        label=latest.label if latest else None,
        probabilities=latest.probabilities if latest else {},
        latency_s=latest.latency_s if latest else 0.0,
        lag_s=max(0.0, now_s - latest.end_s) if latest else 0.0,
        switches=counts.switches,
        patterns=dict(counts.patterns),
        events=dict(counts.events),
        tracks=node.tracker.running(),
        why=node.verdicts[-1].why if node.verdicts else "",
        streams=tuple(_stream_status(node, name, feeds.get(name), wall_offset_s) for name in node.spec.names),
    )


def _stream_status(node: Node, name: str, feed: Feed | None, wall_offset_s: float) -> StreamStatus:
    """One stream; feed: None where the configuration names no sensor for it."""
    clock, health, counts = node.clocks[name], node.windows.health[name], node.windows.counts[name]
    modality = node.spec.stream(name)
    end_s = node.windows.newest_s(name)
    return StreamStatus(
        name=name,
        address=feed.address if feed else "",
        unit=modality.unit,
        state=health.state,
        reason=health.reason,
        told=health.told if feed else "no sensor is configured",
        connection=feed.connection if feed else "",
        rate_hz=feed.rate_hz if feed else modality.rate_hz,
        seen_hz=clock.seen_hz,
        level=node.windows.levels.get(name),
        last_sample_s=None if end_s is None else end_s + wall_offset_s,
        offset_s=_apart_s(clock.offset_s, wall_offset_s),
        drift_ppm=clock.drift_ppm,
        gaps=counts.gaps,
        filled=counts.filled,
        dropped=feed.dropped if feed else 0,
        refused=feed.refused if feed else {},
        reconnects=feed.reconnects if feed else 0,
    )


def _apart_s(offset_s: float | None, wall_offset_s: float) -> float | None:
    """How far a sensor's clock is ahead of this machine's, in s; None where it has no clock that tells the date."""
    if offset_s is None or abs(offset_s + wall_offset_s) > NO_DATE_S:
        return None
    return -(offset_s + wall_offset_s)
