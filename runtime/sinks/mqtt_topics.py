"""Names and contents of the MQTT topics of a node."""

from __future__ import annotations

import re

import msgspec

from rep_edge.runtime.service.status import NodeStatus, ServiceStatus, StreamStatus

ONLINE, STOPPED, OFFLINE = "online", "stopped", "offline"
"""What a node's status topic says: it works; it was stopped; it is gone, which the broker says in its place."""


class Topics:
    """Topics of one node: <prefix>/<node>/..."""

    def __init__(self, prefix: str, node: str) -> None:
        self.node = one_level(node)
        self._base = f"{prefix}/{self.node}"
        self.status = f"{self._base}/status"
        self.events = f"{self._base}/events"
        self.stats = f"{self._base}/stats"

    def stream(self, stream: str) -> str:
        """Topic of the state of one stream."""
        return f"{self._base}/streams/{one_level(stream)}"


def one_level(name: str) -> str:
    """The name as one part of a topic, and of an id of Home Assistant's."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def stream_state(stream: StreamStatus) -> bytes:
    """What a stream's topic holds: it is new only when the state or its reason is."""
    return msgspec.json.encode({"state": stream.state, "reason": stream.reason})


def stats(status: ServiceStatus, node: NodeStatus) -> bytes:
    """All figures of a node, and of the service what concerns it."""
    service = {
        "version": status.version,
        "uptime_s": round(status.now_s - status.started_s, 1),
        "bundle": status.bundle,
        "backend": status.backend,
        "precision": status.precision,
    }
    return msgspec.json.encode(service | msgspec.to_builtins(node))
