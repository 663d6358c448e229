"""A topic of an MQTT broker as a sensor: each message is some samples, in one of the forms that `payload` reads.

The broker must speak MQTT 5, which lets a client refuse messages of any size.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.live import Chunk, Refusals, SourceError
from rep_edge.runtime.sources.packet import fault_of
from rep_edge.runtime.sources.payload import LONGEST_BYTES, parse_payload
from rep_edge.runtime.sources.recording import same_rate
from rep_edge.runtime.sources.waiting import GLANCE_S, unless_stopped
from rep_edge.signals import Stream

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

CONNECT_S = 5.0
ANSWER_S = 10.0
KEEP_ALIVE_S = 15
"""Seconds: until the broker is connected to, until it answers, and between signs of life."""

LONGEST_SENT_BYTES = 2 * LONGEST_BYTES
"""Bytes of a message that the broker is asked not to exceed: it drops longer ones itself."""


class MqttSource:
    """The messages of one topic.

    rate_hz: the rate of messages that state none; those that state another one are refused. tls: the broker proves who
    it is by a certificate that this machine trusts. Raises InputError for a topic that is none, or is many;
    MissingExtraError without paho-mqtt.
    """

    def __init__(
        self,
        modality: Stream,
        host: str,
        port: int = 1883,
        *,
        topic: str,
        username: str | None = None,
        password: str | None = None,
        tls: bool = False,
        rate_hz: float | None = None,
    ) -> None:
        self.address = f"{'mqtts' if tls else 'mqtt'}:{host}:{port}/{topic}"
        if not 0 < len(topic.encode()) < 65536 or any(sign in topic for sign in "+#\0"):
            raise InputError(f"{self.address}: give the one topic that the sensor sends to, without + and #")
        if rate_hz is not None and not 0 < rate_hz < math.inf:
            raise InputError(f"{self.address}: rate_hz must be above 0, not {rate_hz}")
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("sensors", "paho-mqtt") from error
        self.refusals = Refusals(self.address)
        self._channels, self._rate_hz = modality.channels, rate_hz
        self._host, self._port, self._tls, self._topic = host, port, tls, topic
        self._username, self._password = username, password

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Messages as they come. Raises SourceError for a broker that is not there, says no or goes away."""
        talk = _Talk(self._topic)
        client = self._client(talk)
        try:
            if self._is_connected(client, stop):
                yield from self._listen(client, talk, stop)
        finally:
            client.disconnect()

    def _is_connected(self, client: Client, stop: threading.Event) -> bool:
        """False where it was to stop first."""
        try:
            return unless_stopped(client.reconnect, stop) is not None
        except (OSError, ValueError) as error:  # ValueError: a host name that is none
            reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error
            raise SourceError(f"{self.address}: cannot be reached, {reason}") from error

    def _listen(self, client: Client, talk: _Talk, stop: threading.Event) -> Iterator[Chunk]:
        deadline_s = time.monotonic() + ANSWER_S
        while not stop.is_set():
            try:
                code = client.loop(GLANCE_S)
            except Exception as error:  # paho raises what it comes upon in a packet that is none
                raise SourceError(f"{self.address}: the broker sent something else than MQTT") from error
            if talk.refusal is not None:
                raise SourceError(f"{self.address}: {talk.refusal}")
            if code:
                raise SourceError(f"{self.address}: the connection to the broker is lost ({code.name})")
            if not talk.subscribed and time.monotonic() > deadline_s:
                raise SourceError(f"{self.address}: the broker did not answer within {ANSWER_S:g} s")
            while talk.messages:
                chunk = self._chunk(*talk.messages.popleft())
                if isinstance(chunk, str):
                    self.refusals.count(chunk)
                else:
                    yield chunk

    def _chunk(self, message: MQTTMessage, arrived_s: float) -> Chunk | str:
        if message.retain:
            return "it was kept by the broker from before"
        payload = parse_payload(bytes(message.payload), self._channels)
        if isinstance(payload, str):
            return payload
        rate_hz = payload.rate_hz if payload.rate_hz is not None else self._rate_hz
        if rate_hz is None:
            return "it states no rate_hz, nor does the source's address"
        if self._rate_hz is not None and not same_rate(rate_hz, self._rate_hz):
            return "it states another rate_hz than the source's address"
        fault = fault_of(payload.values, payload.start_s, rate_hz)
        return fault or Chunk(payload.values, payload.start_s, rate_hz, arrived_s)

    def _client(self, talk: _Talk) -> Client:
        """A client that is not connected yet, and never connects by itself."""
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = Client(CallbackAPIVersion.VERSION2, f"rep-edge-{uuid.uuid4().hex[:12]}", protocol=MQTTv5)
        client.connect_timeout = CONNECT_S
        client.on_connect, client.on_subscribe = talk.on_connect, talk.on_subscribe
        client.on_message, client.on_disconnect = talk.on_message, talk.on_disconnect
        if self._username is not None:
            client.username_pw_set(self._username, self._password)
        if self._tls:
            client.tls_set()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = LONGEST_SENT_BYTES
        client.connect_async(self._host, self._port, KEEP_ALIVE_S, clean_start=True, properties=properties)
        return client


class _Talk:
    """What the broker has said; the callbacks run inside `client.loop`, in its thread.

    refusal: why there is nothing to wait for, in words.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.subscribed = False
        self.refusal: str | None = None
        self.messages: deque[tuple[MQTTMessage, float]] = deque()

    def on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.refusal = f"the broker refused the connection, {code}"
        else:
            client.subscribe(self._topic, qos=1)

    def on_subscribe(
        self, _client: Client, _data: object, _id: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        self.subscribed = True
        if any(code.is_failure for code in codes):
            self.refusal = f"the broker refused the topic, {codes[0]}"

    def on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.messages.append((message, time.monotonic()))

    def on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if self.refusal is None:
            self.refusal = f"the connection to the broker is lost, {code}"
