"""One connection to an MQTT broker, with a last will, that is made again and again and says everything anew."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sinks.mqtt_settings import MqttSettings
from rep_edge.runtime.sinks.mqtt_topics import OFFLINE, ONLINE, STOPPED, Topics
from rep_edge.runtime.sinks.sink import SinkError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

KEEP_ALIVE_S = 30
"""A connection that was silent for one and a half times as long is a lost one to the broker."""

MOST_WAIT_S = 30
"""Longest pause between two tries to connect in s."""

GLANCE_S = 0.25
"""Seconds between two looks at whether the connection that is to confirm something is still there."""


class Link:
    """The connection of one node. It has a thread of its own, and never makes anybody wait but in `confirm`, `close`.

    Raises MissingExtraError without paho-mqtt, InputError for a ca_file that is none.
    """

    def __init__(self, settings: MqttSettings, password: str | None, topics: Topics, base: Path) -> None:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingExtraError("service", "paho-mqtt") from error
        self.topics = topics
        self._peer = f"{settings.host}:{settings.port}"
        self._lock = threading.Lock()
        self._is_connected, self._is_closed, self._why_not = False, False, "not connected yet"
        self._kept: dict[str, bytes] = {topics.status: ONLINE.encode()}
        self._sent: dict[str, MQTTMessageInfo] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, f"rep-edge-{topics.node}-{uuid.uuid4().hex[:8]}")
        self._client.will_set(topics.status, OFFLINE, qos=1, retain=True)
        self._client.username_pw_set(settings.username, password)
        if settings.tls:
            _encrypt(self._client, base / settings.ca_file if settings.ca_file else None)
        self._client.reconnect_delay_set(1, MOST_WAIT_S)
        self._client.on_connect, self._client.on_connect_fail = self._on_connect, self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.connect_async(settings.host, settings.port, KEEP_ALIVE_S)
        self.revive()

    def revive(self) -> None:
        """Start the connection's thread where it is not running: what paho does not expect ends it."""
        if not self._is_closed:
            self._client.loop_start()

    def keep(self, topic: str, payload: bytes) -> None:
        """What the broker is to hold for a topic, from now on and after each new connection."""
        with self._lock:
            if self._kept.get(topic) == payload:
                return
            self._kept[topic] = payload
            if self._is_connected:
                self._client.publish(topic, payload, retain=True)

    def show(self, topic: str, payload: bytes) -> None:
        """Send it once, if there is a connection."""
        if self._is_connected:
            self._client.publish(topic, payload)

    def send(self, key: str, topic: str, payload: bytes) -> None:
        """Begin to deliver; what was begun and not confirmed goes on by itself over connections, and only once.

        Raises SinkError where there is no connection.
        """
        self._require_connection()
        if key not in self._sent:
            self._sent[key] = self._client.publish(topic, payload, qos=1)

    def confirm(self, key: str, deadline_s: float) -> None:
        """Returns once the broker has it. Raises SinkError where it has not confirmed at `deadline_s` (monotonic)."""
        try:
            while not self._sent[key].is_published():
                self._require_connection()
                if time.monotonic() > deadline_s:
                    raise SinkError(f"{self._peer}: the broker does not confirm")
                self._sent[key].wait_for_publish(GLANCE_S)
        except (RuntimeError, ValueError) as error:
            del self._sent[key]
            raise SinkError(f"{self._peer}: {error}") from error

    def forget(self) -> None:
        """What was confirmed may be sent again under the same key."""
        self._sent.clear()

    def close(self, deadline_s: float) -> None:
        """Say that the node was stopped, at most until `deadline_s` (monotonic), and go."""
        self._is_closed = True
        if self._is_connected:
            said = self._client.publish(self.topics.status, STOPPED, qos=1, retain=True)
            while self._is_connected and not said.rc and not said.is_published() and time.monotonic() < deadline_s:
                said.wait_for_publish(GLANCE_S)
        self._client.disconnect()

    def _require_connection(self) -> None:
        if not self._is_connected or self._is_closed:
            raise SinkError(f"{self._peer}: {self._why_not}")

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._why_not = f"the broker refused the connection, {code}"
            return
        if self._is_closed:
            client.disconnect()
            return
        with self._lock:
            self._is_connected = True
            for topic, payload in self._kept.items():
                client.publish(topic, payload, retain=True)

    def _on_connect_fail(self, _client: Client, _data: object) -> None:
        error = sys.exc_info()[1]  # paho calls this while it handles what it caught
        reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error
        self._why_not = f"cannot be reached, {reason}"

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if self._is_connected:
            self._is_connected, self._why_not = False, f"the connection to the broker is lost, {code}"


def _encrypt(client: Client, authority: Path | None) -> None:
    try:
        client.tls_set(str(authority) if authority else None)
    except OSError as error:
        raise InputError(f"{authority}: is no certificate that can be read; give a PEM file") from error
