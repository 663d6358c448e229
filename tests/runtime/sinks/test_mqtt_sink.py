"""The MQTT sink against a real broker: what its topics say, and when an event counts as delivered."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest
from heard import event, eventually, status
from mosquitto import Broker, ServerKeys, free_port, needs_mosquitto, running_mosquitto
from paho.mqtt.enums import CallbackAPIVersion

from rep_edge.errors import InputError
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.sinks import mqtt
from rep_edge.runtime.sinks.delivery import Delivery
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sinks.mqtt import MqttSink
from rep_edge.runtime.sinks.mqtt_settings import MqttSettings
from rep_edge.runtime.sinks.mqtt_topics import Topics
from rep_edge.runtime.sinks.sink import SinkError

SECRETS = {"PASSWORD": "sesame", "WRONG": "open"}

PUBLISHER = """
import sys
from pathlib import Path
from rep_edge.runtime.sinks.mqtt import MqttSink
from rep_edge.runtime.sinks.mqtt_settings import MqttSettings
sink = MqttSink(MqttSettings(host="127.0.0.1", port=int(sys.argv[1])), str, ["yard"], "1", Path())
sys.stdin.read()
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_mosquitto(tmp_path) as broker:
        yield broker


@contextmanager
def opened(broker: Broker, nodes: tuple[str, ...] = ("yard",), **settings: Any) -> Iterator[MqttSink]:
    asked = MqttSettings(host=broker.host, port=broker.port, **settings)
    sink = MqttSink(asked, SECRETS.__getitem__, nodes, "1.2", Path())
    try:
        yield sink
    finally:
        sink.close()


class Listener:
    """All messages that a broker hands out: (topic, text, whether it was retained) as they come."""

    def __init__(self, broker: Broker) -> None:
        self.heard: list[tuple[str, str, bool]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def texts(self, topic: str) -> list[str]:
        return [text for heard, text, _ in self.heard if heard == topic]

    def events(self, node: str = "yard") -> list[str]:
        return [msgspec.json.decode(text)["id"] for text in self.texts(f"rep-edge/{node}/events")]


def connected(sink: MqttSink) -> None:
    eventually(lambda: all(link._is_connected for link in sink._links.values()))


@needs_mosquitto
def test_a_node_is_online_then_stopped_and_both_are_retained(broker: Broker) -> None:
    with opened(broker, ("yard", "gate")) as sink, Listener(broker) as listener:
        eventually(lambda: listener.texts("rep-edge/yard/status") == ["online"])
        eventually(lambda: listener.texts("rep-edge/gate/status") == ["online"])
        sink.close()
        eventually(lambda: listener.texts("rep-edge/yard/status") == ["online", "stopped"])
    with Listener(broker) as late:
        eventually(lambda: ("rep-edge/gate/status", "stopped", True) in late.heard)


@needs_mosquitto
def test_the_broker_says_offline_for_a_process_that_was_killed(broker: Broker) -> None:
    with Listener(broker) as listener:
        process = subprocess.Popen([sys.executable, "-c", PUBLISHER, str(broker.port)], stdin=subprocess.PIPE)
        eventually(lambda: listener.texts("rep-edge/yard/status") == ["online"])
        process.send_signal(signal.SIGKILL)
        process.communicate()
        eventually(lambda: listener.texts("rep-edge/yard/status") == ["online", "offline"])
        with opened(broker):
            eventually(lambda: listener.texts("rep-edge/yard/status") == ["online", "offline", "online"])


@needs_mosquitto
def test_events_are_delivered_to_their_nodes_topic_and_not_retained(broker: Broker) -> None:
    with opened(broker, ("yard", "gate")) as sink, Listener(broker) as listener:
        connected(sink)
        sink.deliver([event(1), event(2, node="gate"), event(3), event(4, node="left-long-ago")])
        eventually(lambda: len(listener.events()) == 2 and listener.events("gate") and listener.events("left-long-ago"))
        assert listener.events() == ["yard-1.0", "yard-3.0"]
        text = listener.texts("rep-edge/yard/events")[0]
        assert msgspec.json.decode(text, type=Event) == event(1)
    with Listener(broker) as late:
        eventually(lambda: late.texts("rep-edge/yard/status"))
        assert late.events() == []


@needs_mosquitto
def test_stream_states_are_retained_and_published_when_they_change(broker: Broker) -> None:
    with opened(broker) as sink, Listener(broker) as listener:
        connected(sink)
        for states in ({"acoustic": "live"}, {"acoustic": "live"}, {"acoustic": "lost"}):
            sink.publish_status(status(**states))
        topic = "rep-edge/yard/streams/acoustic"
        eventually(lambda: len(listener.texts(topic)) == 2)
        assert [msgspec.json.decode(text)["state"] for text in listener.texts(topic)] == ["live", "lost"]
    with Listener(broker) as late:
        eventually(lambda: (topic, '{"state":"lost","reason":""}', True) in late.heard)


@needs_mosquitto
def test_figures_are_published_once_a_minute(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(broker) as sink, Listener(broker) as listener:
        connected(sink)
        sink.publish_status(status(acoustic="live"))
        sink.publish_status(status(acoustic="live"))
        monkeypatch.setattr(mqtt, "STATS_S", 0.0)
        sink.publish_status(status(acoustic="live"))
        eventually(lambda: len(listener.texts("rep-edge/yard/stats")) == 2)
        figures = msgspec.json.decode(listener.texts("rep-edge/yard/stats")[0])
        assert (figures["name"], figures["windows"], figures["uptime_s"]) == ("yard", 9, 60.0)
        assert figures["streams"][0]["name"] == "acoustic"


@needs_mosquitto
def test_home_assistant_finds_a_device_for_each_node_with_its_entities(broker: Broker) -> None:
    with opened(broker, prefix="farm/ears") as sink, Listener(broker) as listener:
        sink.publish_status(status(acoustic="live", seismic="lost"))
        eventually(lambda: len([topic for topic, *_ in listener.heard if topic.startswith("homeassistant/")]) == 5)
        found = {topic: msgspec.json.decode(text) for topic, text, _ in listener.heard if "homeassistant" in topic}
        bridges = {config["device"].get("via_device") for config in found.values()} - {None}
        (bridge,) = bridges
        own = f"{bridge}_yard"
        assert bridge.startswith("farm_ears_")
        assert set(found) == {
            f"homeassistant/binary_sensor/{bridge}_service/config",
            f"homeassistant/sensor/{own}_label/config",
            f"homeassistant/sensor/{own}_confidence/config",
            f"homeassistant/binary_sensor/{own}_stream_acoustic/config",
            f"homeassistant/binary_sensor/{own}_stream_seismic/config",
        }
        stream = found[f"homeassistant/binary_sensor/{own}_stream_acoustic/config"]
        assert stream["state_topic"] == "farm/ears/yard/streams/acoustic"
        assert stream["availability"][0]["topic"] == "farm/ears/yard/status"
        assert stream["device"]["identifiers"] == [own]
        label = found[f"homeassistant/sensor/{own}_label/config"]
        assert label["state_topic"] == "farm/ears/yard/events"
        assert len({config["unique_id"] for config in found.values()}) == 5
    with Listener(broker) as late:
        eventually(lambda: len([one for one in late.heard if one[0].startswith("homeassistant/") and one[2]]) == 5)


@needs_mosquitto
def test_home_assistant_can_be_left_out(broker: Broker) -> None:
    with opened(broker, home_assistant=False) as sink, Listener(broker) as listener:
        sink.publish_status(status(acoustic="live"))
        eventually(lambda: listener.texts("rep-edge/yard/streams/acoustic"))
        assert not any("homeassistant" in topic for topic, *_ in listener.heard)


@needs_mosquitto
def test_a_broker_that_comes_back_empty_is_told_everything_anew(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with opened(broker) as sink:
        sink.most_s = 0.05
        delivery = Delivery(journal, sink, 0.01)
        sink.publish_status(status(acoustic="live"))
        connected(sink)
        broker.stop()
        for number in range(3):
            journal.append(event(number))
            delivery.wake()
        eventually(lambda: delivery.status().state.startswith("waiting"))
        assert delivery.status().behind == 3
        broker.start()
        with Listener(broker) as listener:
            eventually(lambda: delivery.status().behind == 0)
            eventually(lambda: listener.texts("rep-edge/yard/status") == ["online"])
            eventually(lambda: listener.texts("rep-edge/yard/streams/acoustic"))
            eventually(lambda: any(topic.startswith("homeassistant/") for topic, *_ in listener.heard))
        delivery.close(1.0)
    journal.close()


@needs_mosquitto
def test_a_wrong_password_is_told_in_words(tmp_path: Path) -> None:
    with running_mosquitto(tmp_path, "ears", "sesame") as broker:
        with opened(broker, username="ears", password_env="WRONG") as sink:
            eventually(lambda: "refused" in sink._links["yard"]._why_not)
            with pytest.raises(
                SinkError, match=r"^127\.0\.0\.1:\d+: the broker refused the connection, Not authorized$"
            ):
                sink.deliver([event(1)])
        with opened(broker, username="ears", password_env="PASSWORD") as sink:
            connected(sink)
            sink.deliver([event(1)])


@needs_mosquitto
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_an_encrypted_connection_needs_an_authority_that_is_trusted(tmp_path: Path) -> None:
    keys = ServerKeys(tmp_path / "certificate.pem", tmp_path / "key.pem")
    make = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=127.0.0.1"
    subprocess.run(
        [*make.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-out", keys.certificate, "-keyout", keys.key],
        check=True,
        capture_output=True,
    )
    with running_mosquitto(tmp_path, keys=keys) as broker:
        with opened(broker, tls=True) as sink:
            eventually(lambda: "self" in sink._links["yard"]._why_not)
            with pytest.raises(SinkError, match=r"cannot be reached, self.signed certificate"):
                sink.deliver([event(1)])
        with opened(broker, tls=True, ca_file=keys.certificate) as sink:
            connected(sink)
            sink.deliver([event(1)])
        with pytest.raises(InputError, match=r"none\.pem: is no certificate"):
            MqttSink(MqttSettings(host="h", tls=True, ca_file=Path("none.pem")), str, ["yard"], "1", tmp_path)


def test_a_broker_that_is_not_there_keeps_nobody_waiting() -> None:
    with opened(Broker(Path(), free_port())) as sink:
        sink.publish_status(status(acoustic="live"))
        eventually(lambda: "Connection refused" in sink._links["yard"]._why_not)
        with pytest.raises(SinkError, match="cannot be reached, Connection refused"):
            sink.deliver([event(1)])


# --- a broker of the tests' own, that confirms what it is told to


class SlowBroker:
    """Speaks as much MQTT 3.1.1 as it must; confirms messages only while `confirms` is set."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._server = socket.create_server((self.host, 0))
        self.port = self._server.getsockname()[1]
        self.confirms = threading.Event()
        self.taken: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            threading.Thread(target=self._talk, args=(connection.makefile("rwb"),), daemon=True).start()

    def _talk(self, stream: Any) -> None:
        while head := stream.read(1):
            length = shift = 0
            while True:
                (byte,) = stream.read(1)
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            packet = stream.read(length)
            kind, qos = head[0] >> 4, head[0] >> 1 & 3
            if kind == 1:
                self._say(stream, b"\x20\x02\x00\x00")
            elif kind == 3 and qos:
                start = 2 + int.from_bytes(packet[:2], "big")
                self.taken.append(packet[start + 2 :])
                self.confirms.wait()
                self._say(stream, b"\x40\x02" + packet[start : start + 2])
            elif kind == 14:
                stream.close()
                return

    def _say(self, stream: Any, packet: bytes) -> None:
        stream.write(packet)
        stream.flush()


def test_an_event_is_delivered_when_the_broker_has_confirmed_it_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.2)
    broker = SlowBroker()
    with opened(broker) as sink:  # type: ignore[arg-type]
        connected(sink)
        for _ in range(2):
            with pytest.raises(SinkError, match="the broker does not confirm"):
                sink.deliver([event(1), event(2)])
        monkeypatch.setattr(mqtt, "ANSWER_S", 10.0)
        broker.confirms.set()
        sink.deliver([event(1), event(2), event(3)])
        assert [msgspec.json.decode(one)["id"] for one in broker.taken] == ["yard-1.0", "yard-2.0", "yard-3.0"]


@needs_mosquitto
def test_a_connection_whose_thread_ended_is_made_again(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = paho.Client.reconnect, iter([ValueError("something that paho does not expect")])

    def reconnect(client: paho.Client) -> Any:
        for failure in failures:
            raise failure
        return real(client)

    monkeypatch.setattr(paho.Client, "reconnect", reconnect)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with opened(broker) as sink:
        eventually(lambda: sink._links["yard"]._client._thread is None)
        sink.publish_status(status(acoustic="live"))
        connected(sink)


def test_names_become_one_part_of_a_topic() -> None:
    topics = Topics("rep-edge", "a/b+#é c")
    assert topics.status == "rep-edge/a_b____c/status"
    assert topics.stream("x/y") == "rep-edge/a_b____c/streams/x_y"


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ""},
        {"host": "a b"},
        {"host": "a" * 70},
        {"port": 0},
        {"password_env": "P"},
        {"ca_file": Path("a")},
        {"prefix": "a/#"},
        {"prefix": ""},
        {"discovery_prefix": "/a"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: "):
        MqttSettings(**({"host": "broker"} | wrong))
