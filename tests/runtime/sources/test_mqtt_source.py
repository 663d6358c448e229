from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mosquitto import Broker, ServerKeys, free_port, needs_mosquitto, running_mosquitto
from paho.mqtt import publish

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources import mqtt
from rep_edge.runtime.sources.live import Chunk, SourceError
from rep_edge.runtime.sources.mqtt import MqttSource
from rep_edge.signals import Stream

SEISMIC = Stream(name="seismic", rate_hz=100, samples=100, unit="counts")
MAGNETIC = Stream(name="magnetic", rate_hz=50, samples=50, channels=3, unit="T")
TOPIC = "yard/geophone/raw"
START_S = 1588000000.25


def in_json(**changes: object) -> bytes:
    return json.dumps({"t": START_S, "rate_hz": 100.0, "samples": [1, -2.5, 3], **changes}).encode()


def in_binary(values: np.ndarray, start_s: float = START_S, rate_hz: float = 100.0) -> bytes:  # type: ignore[type-arg]
    return b"REP1" + struct.pack("<dd", start_s, rate_hz) + values.astype("<f4").tobytes()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_mosquitto(tmp_path) as running:
        yield running


class Listening:
    """A source that is read in a thread from when it is subscribed on."""

    def __init__(self, source: MqttSource, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self.stop = source, threading.Event()
        self.got: list[Chunk] = []
        self.error: Exception | None = None
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        heard = mqtt._Talk.on_subscribe

        def on_subscribe(talk: mqtt._Talk, *told: object) -> None:
            heard(talk, *told)  # type: ignore[arg-type]
            self._subscribed.set()

        monkeypatch.setattr(mqtt._Talk, "on_subscribe", on_subscribe)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._subscribed.wait(10), self.error

    def until_got(self, count: int) -> list[Chunk]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, timeout=10), self.source.refusals.counts()
            return list(self.got)

    def until_failed(self) -> Exception:
        self._thread.join(timeout=10)
        assert self.error is not None
        return self.error

    def close(self) -> None:
        self.stop.set()
        self._thread.join(timeout=5)
        assert not self._thread.is_alive()

    def _read(self) -> None:
        try:
            for chunk in self.source.chunks(self.stop):
                with self._changed:
                    self.got.append(chunk)
                    self._changed.notify_all()
        except SourceError as error:
            self.error = error


def source_of(broker: Broker, modality: Stream = SEISMIC, **options: object) -> MqttSource:
    return MqttSource(modality, broker.host, broker.port, **{"topic": TOPIC, **options})  # type: ignore[arg-type]


def send(broker: Broker, *payloads: bytes, retain: bool = False) -> None:
    messages = [{"topic": TOPIC, "payload": payload, "qos": 1, "retain": retain} for payload in payloads]
    publish.multiple(messages, broker.host, broker.port)  # type: ignore[arg-type]


def fails(source: MqttSource, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        next(source.chunks(threading.Event()))


@needs_mosquitto
def test_messages_become_chunks_with_the_time_that_they_state(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    before_s = time.monotonic()
    with closing(Listening(source_of(broker), monkeypatch)) as listening:
        send(broker, in_json(), in_binary(np.arange(5), START_S + 1))
        one, two = listening.until_got(2)
    np.testing.assert_array_equal(one.values, [[1, -2.5, 3]])
    assert (one.start_s, one.rate_hz) == (START_S, 100.0)
    assert (two.start_s, two.values.shape) == (START_S + 1, (1, 5))
    assert before_s <= one.arrived_s <= two.arrived_s <= time.monotonic()


@needs_mosquitto
def test_several_channels_come_side_by_side(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Listening(source_of(broker, MAGNETIC), monkeypatch)) as listening:
        send(broker, in_json(samples=[[1], [2], [3]]))
        np.testing.assert_array_equal(listening.until_got(1)[0].values, [[1], [2], [3]])


@needs_mosquitto
def test_bad_messages_are_counted_and_the_stream_goes_on(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    send(broker, in_json(), retain=True)
    source = source_of(broker, rate_hz=100.0)
    with closing(Listening(source, monkeypatch)) as listening:
        send(broker, b"\xff\x00", in_json(t=1.6e12), in_json(rate_hz=50), in_json(samples=[1e300]), in_json(samples=[]))
        send(broker, b"{" + b" " * (1 << 20), b"{" + b" " * (3 << 20))
        send(broker, in_json(samples=[0] * 6001), in_binary(np.array([np.inf])), in_json(rate_hz=None, t=7.0))
        (chunk,) = listening.until_got(1)
    assert (chunk.start_s, chunk.rate_hz) == (7.0, 100.0)
    assert source.refusals.counts() == {
        "it was kept by the broker from before": 1,
        "it is neither JSON nor binary samples": 1,
        "its time is none between 1970 and 2100": 1,
        "it states another rate_hz than the source's address": 1,
        "it holds samples that are no finite numbers": 2,
        "it holds no samples": 1,
        "it is longer than 1048576 bytes": 1,  # the broker itself drops what is longer than 2 MiB
        "it lasts longer than 60 s": 1,
    }


@needs_mosquitto
def test_a_message_without_a_rate_needs_one_in_the_address(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(broker)
    with closing(Listening(source, monkeypatch)) as listening:
        send(broker, in_json(rate_hz=None), in_json())
        listening.until_got(1)
    assert source.refusals.counts() == {"it states no rate_hz, nor does the source's address": 1}


@needs_mosquitto
def test_a_broker_that_is_killed_is_an_error_and_may_be_tried_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(broker)
    with closing(Listening(source, monkeypatch)) as listening:
        broker.stop()
        assert "the connection to the broker is lost" in str(listening.until_failed())
    fails(source, "cannot be reached, Connection refused")
    broker.start()
    with closing(Listening(source, monkeypatch)) as listening:
        send(broker, in_json())
        listening.until_got(1)


@needs_mosquitto
def test_a_stop_is_noticed_soon_and_the_connection_given_back(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = Listening(source_of(broker), monkeypatch)
    before_s = time.monotonic()
    listening.close()
    assert time.monotonic() - before_s < 5.0
    assert listening.error is None


@needs_mosquitto
def test_user_and_password_open_the_broker_and_stand_in_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_mosquitto(tmp_path, user="sensor", password="swordfish") as broker:
        fails(source_of(broker), "the broker refused the connection, Not authorized")
        wrong = source_of(broker, username="sensor", password="catfish")
        fails(wrong, "the broker refused the connection, Not authorized")
        source = source_of(broker, username="sensor", password="swordfish")
        Listening(source, monkeypatch).close()
    assert source.address == f"mqtt:{broker.host}:{broker.port}/{TOPIC}"


@needs_mosquitto
@pytest.mark.skipif(not Path("/usr/bin/openssl").exists(), reason="openssl is not installed")
def test_a_broker_with_tls_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ServerKeys(tmp_path / "certificate.pem", tmp_path / "key.pem")
    make = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(keys.certificate), "-keyout", str(keys.key)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    with running_mosquitto(tmp_path, keys=keys) as broker:
        fails(source_of(broker, tls=True), "cannot be reached, self.signed certificate")
        monkeypatch.setenv("SSL_CERT_FILE", str(keys.certificate))
        Listening(source_of(broker, tls=True), monkeypatch).close()


def test_a_peer_that_never_answers_is_an_error_and_heeds_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = MqttSource(SEISMIC, *silent.getsockname(), topic=TOPIC)
        stop = threading.Event()
        threading.Timer(0.2, stop.set).start()
        assert list(source.chunks(stop)) == []
        monkeypatch.setattr(mqtt, "ANSWER_S", 0.3)
        fails(source, r"did not answer within 0\.3 s")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x02\x00\x00", b"\x20\x01\x00", b"\xff" * 40]
)
def test_a_peer_that_is_no_broker_is_an_error(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(1024)
                client.sendall(answer)

        threading.Thread(target=talk, daemon=True).start()
        fails(MqttSource(SEISMIC, *listening.getsockname(), topic=TOPIC), "mqtt:127")


def test_no_broker_is_an_error() -> None:
    fails(MqttSource(SEISMIC, "127.0.0.1", free_port(), topic=TOPIC), "cannot be reached, Connection refused")
    fails(MqttSource(SEISMIC, "no host", 1883, topic=TOPIC), "cannot be reached")


@pytest.mark.parametrize("topic", ["", "yard/#", "+/raw"])
def test_a_topic_that_is_none_or_many_is_a_mistake(topic: str) -> None:
    with pytest.raises(InputError, match="give the one topic"):
        MqttSource(SEISMIC, "127.0.0.1", topic=topic)


def test_a_rate_that_is_none_is_a_mistake() -> None:
    with pytest.raises(InputError, match="rate_hz must be above 0"):
        MqttSource(SEISMIC, "127.0.0.1", topic=TOPIC, rate_hz=-1.0)


def test_without_paho_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingExtraError, match=r"rep-edge\[sensors\]"):
        MqttSource(SEISMIC, "127.0.0.1", topic=TOPIC)
