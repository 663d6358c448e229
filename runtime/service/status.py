"""What the service says of itself: one struct for the page, the metrics and the MQTT topics."""

from __future__ import annotations

import msgspec


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor of a node. Times in s since 1970; counters since the service started.

    state: "live", "suspect", "lost" or "recovering"; reason: its name, "" for none; told: that in words, with figures.
    connection: what its source is doing ("connected", "waiting 8 s: connection refused"); address: without passwords.
    rate_hz: what the sensor states; seen_hz: what came, None before enough did; level: RMS of the latest window in the
    modality's unit. last_sample_s: time of the newest sample, None before the first. offset_s, drift_ppm: its clock
    against ours. gaps, filled: gaps that tore a window, and small ones that were bridged; dropped: chunks that a full
    queue lost; refused: reason -> count of what was sent and not taken; reconnects: times it was opened again.
    """

    name: str
    address: str
    unit: str
    state: str
    reason: str
    told: str
    connection: str
    rate_hz: float
    seen_hz: float | None
    level: float | None
    last_sample_s: float | None
    offset_s: float | None
    drift_ppm: float | None
    gaps: int
    filled: int
    dropped: int
    refused: dict[str, int]
    reconnects: int


class TrackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A track that has begun and not ended."""

    track: str
    label: str
    confidence: float
    start_s: float


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor node. Counters since the service started.

    windows: hops decided; without: those for which no stream was live; pattern: of the latest ("" for none).
    label, probabilities, latency_s: of the latest hop; lag_s: how far the latest decided window is behind now.
    switches: changes of the pattern; patterns: pattern -> hops; events: class -> tracks begun; why: of the latest hop.
    """

    name: str
    windows: int
    without: int
    pattern: str
    label: str | None
    probabilities: dict[str, float]
    latency_s: float
    lag_s: float
    switches: int
    patterns: dict[str, int]
    events: dict[str, int]
    tracks: tuple[TrackStatus, ...]
    why: str
    streams: tuple[StreamStatus, ...]


class SinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where events go. state: "delivering", or "waiting 8 s: connection refused"; behind: events still to be delivered;
    delivered: since the service started; lost: that could not be kept until they were."""

    name: str
    state: str
    behind: int
    delivered: int
    lost: int


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole service. started_s, now_s: in s since 1970; not_ready: why it is not, "" once it is.

    bundle: its folder's name; created: when it was exported; backend, precision: what runs it. reloads: bundles taken
    over while running; reload_failed: why the last one was not, "". events_lost: that neither the disk nor the memory
    for them took.
    """

    version: str
    started_s: float
    now_s: float
    not_ready: str
    bundle: str
    created: str
    backend: str
    precision: str
    labels: tuple[str, ...]
    hop_s: float
    window_s: float
    reloads: int
    reload_failed: str
    events_lost: int = 0
    journal_bytes: int
    clips_bytes: int
    nodes: tuple[NodeStatus, ...]
    sinks: tuple[SinkStatus, ...]
