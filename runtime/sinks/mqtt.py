"""Events and states on an MQTT broker, as its users expect them, and Home Assistant with them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.service.status import NodeStatus, ServiceStatus
from rep_edge.runtime.sinks.home_assistant import Installation
from rep_edge.runtime.sinks.mqtt_link import Link
from rep_edge.runtime.sinks.mqtt_settings import MqttSettings
from rep_edge.runtime.sinks.mqtt_topics import Topics, one_level, stats, stream_state

ANSWER_S = 10.0
"""Seconds that the broker has to confirm a batch."""

CLOSE_S = 2.0
"""Seconds that it has to take the word that the nodes were stopped."""

STATS_S = 60.0
"""Seconds between two messages with all figures."""


class MqttSink:
    """A connection for each node, since a connection has one last will: <prefix>/<node>/status is always true.

    Events are delivered once the broker has confirmed them (QoS 1). States are retained, published when they change
    and after each connection. Events of a node that is no longer there go over the first connection, to its own topic.
    """

    name = "mqtt"
    most_s = 5.0  # a try costs nothing: the connections are made elsewhere

    def __init__(
        self, settings: MqttSettings, secrets: Callable[[str], str], nodes: Sequence[str], version: str, base: Path
    ) -> None:
        password = secrets(settings.password_env) if settings.password_env else None
        self._prefix = settings.prefix
        self._links = {node: Link(settings, password, Topics(settings.prefix, node), base) for node in nodes}
        bridge = one_level(f"{settings.prefix}_{socket.gethostname()}")
        installation = Installation(settings.discovery_prefix, bridge, version)
        self._installation = installation if settings.home_assistant else None
        self._announced: set[str] = set()
        self._stats_s = -STATS_S

    def deliver(self, events: Sequence[Event]) -> None:
        deadline_s = time.monotonic() + ANSWER_S
        links = [self._link(event.node) for event in events]
        for link, event in zip(links, events, strict=True):
            link.send(event.id, Topics(self._prefix, event.node).events, msgspec.json.encode(event))
        for link, event in zip(links, events, strict=True):
            link.confirm(event.id, deadline_s)
        for link in links:
            link.forget()

    def publish_status(self, status: ServiceStatus) -> None:
        """Stream states where they changed, all figures once a minute."""
        now_s = time.monotonic()
        is_due = now_s - self._stats_s >= STATS_S
        for node in status.nodes:
            link = self._link(node.name)
            link.revive()
            self._announce(link, node)
            for stream in node.streams:
                link.keep(link.topics.stream(stream.name), stream_state(stream))
            if is_due:
                link.show(link.topics.stats, stats(status, node))
        if is_due and status.nodes:
            self._stats_s = now_s

    def close(self) -> None:
        deadline_s = time.monotonic() + CLOSE_S
        for link in self._links.values():
            link.close(deadline_s)

    def _link(self, node: str) -> Link:
        return self._links.get(node) or next(iter(self._links.values()))

    def _announce(self, link: Link, node: NodeStatus) -> None:
        """Tell Home Assistant once; the link says it again after each connection."""
        if self._installation is None or node.name in self._announced:
            return
        if not self._announced:
            link.keep(*self._installation.bridge_entity(link.topics))
        for announcement in self._installation.node_entities(
            link.topics, node.name, [stream.name for stream in node.streams]
        ):
            link.keep(*announcement)
        self._announced.add(node.name)
