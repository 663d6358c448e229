from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.errors import InputError
from rep_edge.runtime.sources import datagrams, shake
from rep_edge.runtime.sources.live import Chunk, SourceError
from rep_edge.runtime.sources.shake import Packet, ShakeSource, parse_packet
from rep_edge.signals import Stream

SEISMIC = Stream(name="seismic", rate_hz=100, samples=100, unit="counts")
ACOUSTIC = Stream(name="acoustic", rate_hz=800, samples=800)
HOST = "127.0.0.1"
START_S = 1588000000.123


def packet(start_s: float = START_S, counts: tuple[int, ...] = (1, -2, 3), channel: str = "EHZ") -> bytes:
    return f"{{'{channel}', {start_s:.3f}, {', '.join(map(str, counts))}}}".encode()


class Shake:
    """Sends from an address of the loopback network, as a unit of that address does."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, (HOST, self._port))

    def close(self) -> None:
        self._socket.close()


class Listening:
    """A source that is read in a thread."""

    def __init__(self, source: ShakeSource) -> None:
        self.source, self.stop = source, threading.Event()
        self.got: list[Chunk] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        until(lambda: (HOST, source._port) in datagrams._listeners and self._is_subscribed())

    def until_got(self, count: int) -> list[Chunk]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, timeout=10), f"only {len(self.got)} came"
            return list(self.got)

    def close(self) -> None:
        self.stop.set()
        self._thread.join(timeout=5)
        assert not self._thread.is_alive()

    def _is_subscribed(self) -> bool:
        listener = datagrams._listeners.get((HOST, self.source._port))
        return listener is not None and any(s.refusals is self.source.refusals for s in listener.subscriptions)

    def _read(self) -> None:
        for chunk in self.source.chunks(self.stop):
            with self._changed:
                self.got.append(chunk)
                self._changed.notify_all()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_a_packet_is_channel_time_and_counts() -> None:
    parsed = parse_packet(b"{'EHZ', 1588000000.123, 1, -2, 3}")
    assert isinstance(parsed, Packet)
    assert (parsed.channel, parsed.start_s, parsed.values.dtype) == ("EHZ", 1588000000.123, np.float32)
    np.testing.assert_array_equal(parsed.values, [[1, -2, 3]])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{'EHZ', 1588000000.1}",
        b"{'EHZ', nan, 1}",
        b"{'EHZ', 1e999, 1}",
        b"{'EHZ', -5, 1}",
        b"{'ehz', 5, 1}",
        b"{'EH', 5, 1}",
        b"{'EHZ', 5, 1.5}",
        b"{'EHZ', 5, 99999999999999999999}",
        b"{'EHZ', 5, 1} and more",
        b"{'EHZ', __import__('os').getpid(), 1}",
        "{'EHZ', 5, \u0661}".encode(),
    ],
)
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    assert parse_packet(data) == "it is no datacast packet"


def test_long_packets_and_huge_counts_are_refused() -> None:
    assert parse_packet(packet(counts=(1,) * 4000)) == "it is longer than 8192 bytes"
    assert parse_packet(packet(counts=(1, -(2**31) - 1))) == "it holds counts beyond 32 bits"


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text("{}'EHZ,.-0123456789 ", max_size=80).map(str.encode)
    | st.builds(lambda head, at: packet()[:at] + head + packet()[at:], st.binary(max_size=4), st.integers(0, 30))
)
def test_no_bytes_raise(data: bytes) -> None:
    parsed = parse_packet(data)
    assert isinstance(parsed, str) or np.isfinite(parsed.values).all()


def test_packets_become_chunks_with_the_time_of_the_packet(port: int, stack: ExitStack) -> None:
    listening = stack.enter_context(closing(Listening(ShakeSource(SEISMIC, HOST, port, rate_hz=200.0))))
    sender = stack.enter_context(closing(Shake(port)))
    before_s = time.monotonic()
    sender.send(packet())
    (chunk,) = listening.until_got(1)
    np.testing.assert_array_equal(chunk.values, [[1, -2, 3]])
    assert (chunk.start_s, chunk.rate_hz) == (START_S, 200.0)
    assert before_s <= chunk.arrived_s <= time.monotonic()


def test_other_channels_of_the_shake_are_no_refusal_and_everything_else_is_counted(port: int, stack: ExitStack) -> None:
    source = ShakeSource(SEISMIC, HOST, port, rate_hz=25.0)
    listening = stack.enter_context(closing(Listening(source)))
    sender = stack.enter_context(closing(Shake(port)))
    bad = (b"\x00junk", packet(1.6e12), packet(counts=(1,) * 1501), b"x" * 9000)
    for data in (packet(channel="ENZ"), *bad, packet()):
        sender.send(data)
    listening.until_got(1)
    assert source.refusals.counts() == {
        "it is no datacast packet": 1,
        "it is longer than 8192 bytes": 1,
        "it lasts longer than 60 s": 1,
        "its time is none between 1970 and 2100": 1,
    }


def test_the_first_sender_is_taken_until_it_has_been_silent(
    port: int, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ShakeSource(SEISMIC, HOST, port)
    listening = stack.enter_context(closing(Listening(source)))
    one = stack.enter_context(closing(Shake(port, "127.0.0.2")))
    two = stack.enter_context(closing(Shake(port, "127.0.0.3")))
    two.send(packet(channel="ENZ"))
    one.send(packet(START_S))
    listening.until_got(1)
    two.send(packet(START_S + 1))
    until(lambda: source.refusals.counts() == {"it came from another sender": 1})
    monkeypatch.setattr(shake, "SILENCE_S", 0.0)
    two.send(packet(START_S + 2))
    assert [chunk.start_s for chunk in listening.until_got(2)] == pytest.approx([START_S, START_S + 2])


def test_channels_and_stations_share_a_port(port: int, stack: ExitStack) -> None:
    of = {
        (sender, channel): stack.enter_context(
            closing(Listening(ShakeSource(SEISMIC, HOST, port, channel=channel, sender=sender)))
        )
        for sender, channel in (("127.0.0.2", "EHZ"), ("127.0.0.2", "ENZ"), ("127.0.0.3", "EHZ"))
    }
    for number, sender in enumerate(("127.0.0.2", "127.0.0.3")):
        unit = stack.enter_context(closing(Shake(port, sender)))
        for offset, channel in enumerate(("EHZ", "ENZ")):
            unit.send(packet(START_S + number * 10 + offset, channel=channel))
    times = {key: round(listening.until_got(1)[0].start_s - START_S) for key, listening in of.items()}
    assert times == {("127.0.0.2", "EHZ"): 0, ("127.0.0.2", "ENZ"): 1, ("127.0.0.3", "EHZ"): 10}
    assert [listening.source.refusals.counts() for listening in of.values()] == [{}, {}, {}]


def test_a_sender_that_nobody_named_is_refused(port: int, stack: ExitStack) -> None:
    source = ShakeSource(SEISMIC, HOST, port, sender="127.0.0.2")
    stack.enter_context(closing(Listening(source)))
    stack.enter_context(closing(Shake(port, "127.0.0.9"))).send(packet())
    until(lambda: source.refusals.counts() == {"it came from another sender": 1})


def test_the_port_is_free_again_when_the_last_stream_has_left(port: int) -> None:
    first, second = Listening(ShakeSource(SEISMIC, HOST, port)), Listening(ShakeSource(SEISMIC, HOST, port))
    first.close()
    with closing(Shake(port)) as sender:
        sender.send(packet())
        second.until_got(1)
    second.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, port))


def test_a_port_that_another_program_has_is_an_error(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, port))
        with pytest.raises(SourceError, match=f"cannot listen on UDP {HOST}:{port}: Address already in use"):
            next(ShakeSource(SEISMIC, HOST, port).chunks(threading.Event()))


def test_infrasound_is_no_substitute_for_a_microphone() -> None:
    with pytest.raises(InputError, match="HDF is infrasound at 100 Hz"):
        ShakeSource(ACOUSTIC, HOST, channel="HDF")
    ShakeSource(SEISMIC, HOST, channel="HDF")


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"channel": "EH'"}, "channel must be"),
        ({"sender": "shake.local"}, "sender must be an IP address"),
        ({"rate_hz": 0.0}, "rate_hz must be above 0"),
        ({"modality": Stream(name="seismic", rate_hz=100, samples=100, channels=3)}, "is one channel"),
    ],
)
def test_an_address_that_cannot_be_is_a_mistake(given_: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        ShakeSource(**{"modality": SEISMIC, "host": HOST, **given_})  # type: ignore[arg-type]
