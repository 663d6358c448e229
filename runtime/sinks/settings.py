"""The `sinks` section of the configuration, and the sinks that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from rep_edge import __version__
from rep_edge.runtime.sinks.jsonl import JsonLinesSettings, JsonLinesSink
from rep_edge.runtime.sinks.mqtt import MqttSink
from rep_edge.runtime.sinks.mqtt_settings import MqttSettings
from rep_edge.runtime.sinks.sink import Sink
from rep_edge.runtime.sinks.webhook import WebhookSettings, WebhookSink


class SinksSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events go, beside the journal. What is not named is not used.

    jsonl: lines of JSON in a file.
    mqtt: an MQTT broker, and Home Assistant behind it.
    webhook: an address that takes HTTP requests.
    """

    jsonl: JsonLinesSettings | None = None
    mqtt: MqttSettings | None = None
    webhook: WebhookSettings | None = None


def open_sinks(settings: SinksSettings, secrets: Callable[[str], str], nodes: Sequence[str], base: Path) -> list[Sink]:
    """The sinks that are named; none of them waits for its receiver.

    secrets: name of an environment variable to its value, or an error that says that it is not set. nodes: at least one
    name. base: the configuration file's folder. Raises MissingExtraError without paho-mqtt, InputError for a ca_file
    that is none.
    """
    sinks: list[Sink] = []
    if settings.jsonl:
        sinks.append(JsonLinesSink(settings.jsonl, base))
    if settings.webhook:
        sinks.append(WebhookSink(settings.webhook, secrets))
    if settings.mqtt:
        sinks.append(MqttSink(settings.mqtt, secrets, nodes, __version__, base))
    return sinks
