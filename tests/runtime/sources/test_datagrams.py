from __future__ import annotations

import socket

import pytest

from rep_edge.runtime.sources import datagrams
from rep_edge.runtime.sources.datagrams import Datagram, subscribed
from rep_edge.runtime.sources.live import Refusals, SourceError

HOST = "127.0.0.1"


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def test_a_datagram_goes_to_those_who_named_its_sender_else_to_those_who_named_none(port: int) -> None:
    refusals = Refusals("udp")
    with subscribed(HOST, port, None, refusals) as anyone, subscribed(HOST, port, HOST, refusals) as named:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"named", (HOST, port))
        assert _got(named).data == b"named"
        assert anyone.get() is None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.5", 0))
            sender.sendto(b"other", (HOST, port))
        assert _got(anyone).sender == "127.0.0.5"
        assert named.get() is None
    assert datagrams._listeners == {}


def test_a_stream_that_is_not_read_loses_datagrams_and_counts_them(port: int) -> None:
    refusals = Refusals("udp")
    with subscribed(HOST, port, None, refusals) as subscription:
        for _ in range(datagrams.QUEUED + 3):
            subscription.put(Datagram(b"", HOST, 0.0))
    assert refusals.counts() == {"it came faster than it was read": 3}


def test_a_socket_that_fails_is_an_error_and_the_next_try_gets_another(port: int) -> None:
    with subscribed(HOST, port, None, Refusals("udp")) as subscription:
        datagrams._listeners[HOST, port]._socket.close()
        with pytest.raises(SourceError, match="the socket failed: Bad file descriptor"):
            _got(subscription)
        with subscribed(HOST, port, None, Refusals("udp")) as another:
            assert another.get() is None
    assert datagrams._listeners == {}


def _got(subscription: datagrams.Subscription) -> Datagram:
    """The next datagram, which is on its way."""
    for _ in range(40):
        datagram = subscription.get()
        if datagram is not None:
            return datagram
    raise AssertionError("no datagram came")
