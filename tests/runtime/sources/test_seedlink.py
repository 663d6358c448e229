from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mosquitto import free_port
from seedlink_server import SeedLinkServer, record

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources import seedlink
from rep_edge.runtime.sources.live import Chunk, SourceError
from rep_edge.runtime.sources.seedlink import SeedLinkSource
from rep_edge.signals import Stream

SEISMIC = Stream(name="seismic", rate_hz=100, samples=100, unit="counts")
START_S = 1704067200.0
COUNTS = np.arange(200) % 37 - 18


@pytest.fixture
def server() -> Iterator[SeedLinkServer]:
    with SeedLinkServer() as running:
        yield running


def source_of(port: int, station: str = "R24FA", location: str = "00", channel: str = "EHZ") -> SeedLinkSource:
    return SeedLinkSource(SEISMIC, "127.0.0.1", port, network="AM", station=station, location=location, channel=channel)


def first(source: SeedLinkSource, count: int = 1) -> list[Chunk]:
    """The chunks that come first; then the source is closed."""
    with closing(source.chunks(threading.Event())) as chunks:
        return [next(chunks) for _ in range(count)]


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections and never says a word; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def feed(server: SeedLinkServer, *records: bytes) -> threading.Thread:
    """Adds the records as soon as a client waits for them."""

    def run() -> None:
        server.wait_for_client()
        for each in records:
            server.add(each)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_records_arrive_as_chunks_with_their_own_time_and_rate(server: SeedLinkServer) -> None:
    feed(server, record(COUNTS, START_S), record(COUNTS[:50], START_S + 2.0))
    before_s = time.monotonic()
    one, two = first(source_of(server.port), 2)
    np.testing.assert_array_equal(one.values, COUNTS[None].astype(np.float32))
    assert (one.start_s, one.rate_hz, one.values.dtype) == (START_S, 100.0, np.float32)
    assert (two.start_s, two.values.shape) == (START_S + 2.0, (1, 50))
    assert before_s <= one.arrived_s <= two.arrived_s <= time.monotonic()


def test_it_asks_for_its_station_and_channel_alone(server: SeedLinkServer) -> None:
    feed(server, record(COUNTS, START_S))
    first(source_of(server.port))
    assert server.asked == ["HELLO", "STATION R24FA AM", "SELECT 00EHZ.D", "DATA", "END"]


def test_a_channel_without_a_location_is_asked_for_by_its_code(server: SeedLinkServer) -> None:
    feed(server, record(COUNTS, START_S, name="AM.R24FA..EHZ"))
    assert first(source_of(server.port, location="--"))[0].start_s == START_S
    assert "SELECT EHZ.D" in server.asked


@pytest.mark.parametrize("name", ["AM.R24FA.00.EHN", "AM.R24FB.00.EHZ", "XX.R24FA.00.EHZ", "AM.R24FA.01.EHZ"])
def test_records_of_another_station_or_channel_are_refused(server: SeedLinkServer, name: str) -> None:
    feed(server, record(COUNTS, START_S, name=name), record(COUNTS, START_S + 2))
    source = source_of(server.port)
    assert first(source)[0].start_s == START_S + 2
    assert source.refusals.counts() == {"it is of another station or channel": 1}


def test_broken_records_are_refused_and_the_stream_goes_on(server: SeedLinkServer) -> None:
    whole = record(COUNTS, START_S)
    broken = whole[:46] + b"\xff" * 100 + whole[146:]
    feed(server, broken, record(np.array([1.0, np.nan]), START_S), record([1, 2], START_S, rate_hz=0.01), whole)
    source = source_of(server.port)
    assert first(source)[0].start_s == START_S
    assert sorted(source.refusals.counts()) == [
        "it holds samples that are no finite numbers",
        "it is no record that can be decoded",
        "it lasts longer than 60 s",
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(20, 511), st.integers(0, 255)), min_size=1, max_size=12))
def test_no_record_raises(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(record(COUNTS, START_S))
    for at, value in changes:
        damaged[at] = value
    received = bytearray(b"SL000001" + damaged)
    source = source_of(18000)
    for chunk in source._take(received, 1.0):
        assert np.isfinite(chunk.values).all()
    assert not received


def test_a_reconnect_goes_on_after_the_last_record(server: SeedLinkServer) -> None:
    feed(server, record(COUNTS, START_S), record(COUNTS, START_S + 2))
    source = source_of(server.port)
    first(source, 2)
    server.add(record(COUNTS, START_S + 4))
    server.stop()
    server.start()
    assert first(source)[0].start_s == START_S + 4
    assert server.asked[-2:] == ["DATA 0x3", "END"]


def test_a_number_that_the_server_has_forgotten_is_asked_for_once(server: SeedLinkServer) -> None:
    source = source_of(server.port)
    source._sequence = 5000
    with pytest.raises(SourceError, match="does not offer"):
        first(source)
    feed(server, record(COUNTS, START_S))
    assert first(source)[0].start_s == START_S


def test_a_server_that_hangs_up_does_not_cost_the_place_in_the_stream() -> None:
    source = source_of(free_port())
    source._sequence = 7
    with socket.create_server(("127.0.0.1", source._port)) as listening:
        threading.Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
        with pytest.raises(SourceError):
            first(source)
    assert source._sequence == 7


def test_after_the_last_number_it_begins_with_the_next_record() -> None:
    with SeedLinkServer(first=0xFFFFFF) as server:
        source = source_of(server.port)
        feed(server, record(COUNTS, START_S))
        first(source)
        assert source._sequence == seedlink.NEXT


def test_a_server_that_vanishes_is_an_error(server: SeedLinkServer) -> None:
    feed(server, record(COUNTS, START_S))
    with closing(source_of(server.port).chunks(threading.Event())) as chunks:
        next(chunks)
        server.stop()
        with pytest.raises(SourceError, match="the server closed the connection"):
            next(chunks)


def test_a_server_that_closes_while_it_is_asked_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(1024)

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(SourceError, match="the server closed the connection"):
            first(source_of(listening.getsockname()[1]))


def test_a_server_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seedlink, "ANSWER_S", 0.3)
    with silent_server() as port, pytest.raises(SourceError, match=r"sent nothing for 0.3 s"):
        first(source_of(port))


def test_a_server_that_falls_silent_is_an_error(server: SeedLinkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seedlink, "SILENCE_S", 0.3)
    with pytest.raises(SourceError, match=r"sent nothing for 0.3 s"):
        first(source_of(server.port))


def test_no_server_is_an_error() -> None:
    with pytest.raises(SourceError, match="cannot be reached, Connection refused"):
        first(source_of(free_port()))


def test_a_station_that_the_server_has_not_is_an_error(server: SeedLinkServer) -> None:
    with pytest.raises(SourceError, match="does not offer this channel"):
        first(source_of(server.port, station="OTHER"))


def test_bytes_that_are_no_packet_are_an_error(server: SeedLinkServer) -> None:
    server.add_raw(b"ERROR\r\nERROR\r\n")
    source = source_of(server.port)
    source._sequence = 0  # asks for the first packet that the server keeps
    with pytest.raises(SourceError, match="something else than a packet"):
        first(source)


@pytest.mark.parametrize("answers", [True, False])
def test_a_stop_is_noticed_soon(server: SeedLinkServer, answers: bool) -> None:
    stop = threading.Event()
    with silent_server() as silent_port:
        chunks = source_of(server.port if answers else silent_port).chunks(stop)
        threading.Timer(0.2, stop.set).start()
        before_s = time.monotonic()
        assert list(chunks) == []
        assert time.monotonic() - before_s < 5.0


@pytest.mark.parametrize(("name", "code"), [("station", "R?"), ("channel", "EH"), ("location", "000")])
def test_codes_that_are_none_are_a_mistake(name: str, code: str) -> None:
    codes = {"network": "AM", "station": "R24FA", "location": "00", "channel": "EHZ", name: code}
    with pytest.raises(InputError, match=f"is no {name} code"):
        SeedLinkSource(SEISMIC, "127.0.0.1", **codes)


def test_a_modality_of_several_channels_is_a_mistake() -> None:
    three = Stream(name="seismic", rate_hz=100, samples=100, channels=3)
    with pytest.raises(InputError, match="is one channel"):
        SeedLinkSource(three, "127.0.0.1", network="AM", station="R24FA", location="00", channel="EHZ")


def test_without_obspy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obspy.clients.seedlink", None)
    with pytest.raises(MissingExtraError, match=r"rep-edge\[seedlink\]"):
        source_of(18000)
