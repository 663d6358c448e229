"""Home Assistant's MQTT discovery: which devices and entities it finds by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from rep_edge.runtime.sinks.mqtt_topics import ONLINE, Topics, one_level

Entity = dict[str, Any]


class Installation(NamedTuple):
    """What all entities share.

    discovery_prefix: first part of the topics in which Home Assistant looks; bridge: id of the device that the nodes
    hang on, which stands for the service; version: of rep-edge.
    """

    discovery_prefix: str
    bridge: str
    version: str

    def bridge_entity(self, topics: Topics) -> tuple[str, bytes]:
        """Topic and content for the service itself, whose state is that of any node of it."""
        entity = {
            "name": "Service",
            "unique_id": f"{self.bridge}_service",
            "device_class": "running",
            "entity_category": "diagnostic",
            "state_topic": topics.status,
            "value_template": f"{{{{ 'ON' if value == '{ONLINE}' else 'OFF' }}}}",
        }
        device = {"identifiers": [self.bridge], "name": self.bridge, "model": "Service"}
        return self._announcement("binary_sensor", entity, device)

    def node_entities(self, topics: Topics, name: str, streams: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Topic and content for each entity of a node: what it heard last, and each of its streams."""
        own = f"{self.bridge}_{topics.node}"
        device = {"identifiers": [own], "name": name, "model": "Sensor node", "via_device": self.bridge}
        entities = [("sensor", _label(own, topics)), ("sensor", _confidence(own, topics))]
        entities += [("binary_sensor", _stream(own, topics, stream)) for stream in streams]
        available = f"{{{{ 'online' if value == '{ONLINE}' else 'offline' }}}}"
        for component, entity in entities:
            entity["availability"] = [{"topic": topics.status, "value_template": available}]
            yield self._announcement(component, entity, device)

    def _announcement(self, component: str, entity: Entity, device: dict[str, Any]) -> tuple[str, bytes]:
        entity["device"] = device | {"manufacturer": "rep-edge", "sw_version": self.version}
        entity["origin"] = {"name": "rep-edge", "sw_version": self.version}
        return f"{self.discovery_prefix}/{component}/{entity['unique_id']}/config", msgspec.json.encode(entity)


def _label(own: str, topics: Topics) -> Entity:
    return {
        "name": "Last class",
        "unique_id": f"{own}_label",
        "icon": "mdi:ear-hearing",
        "state_topic": topics.events,
        "value_template": "{{ value_json.label }}",
        "json_attributes_topic": topics.events,
    }


def _confidence(own: str, topics: Topics) -> Entity:
    return {
        "name": "Confidence",
        "unique_id": f"{own}_confidence",
        "unit_of_measurement": "%",
        "state_topic": topics.events,
        "value_template": "{{ (100 * value_json.confidence) | round(1) }}",
    }


def _stream(own: str, topics: Topics, stream: str) -> Entity:
    return {
        "name": stream,
        "unique_id": f"{own}_stream_{one_level(stream)}",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.stream(stream),
        "value_template": "{{ 'ON' if value_json.state in ['live', 'suspect'] else 'OFF' }}",
        "json_attributes_topic": topics.stream(stream),
    }
