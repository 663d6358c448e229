"""One UDP socket for all streams that listen on the same port: each gets the datagrams of its sender."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rep_edge.runtime.sources.live import Refusals, SourceError
from rep_edge.runtime.sources.waiting import GLANCE_S

LONGEST_BYTES = 8192
"""Bytes of a datagram; what is longer comes cut off to one byte more."""

QUEUED = 256
"""Datagrams that wait for a stream that is slow."""

RECEIVE_BUFFER_BYTES = 1 << 20


class Datagram(NamedTuple):
    """sender: its IP address; arrived_s: `time.monotonic()` when it came."""

    data: bytes
    sender: str
    arrived_s: float


class Subscription:
    """Datagrams of one sender, or, with None, of every sender that no other subscription of the port names."""

    def __init__(self, listener: _Listener, sender: str | None, refusals: Refusals) -> None:
        self.sender, self.refusals = sender, refusals
        self._listener = listener
        self._waiting: queue.Queue[Datagram] = queue.Queue(QUEUED)

    def put(self, datagram: Datagram) -> None:
        try:
            self._waiting.put_nowait(datagram)
        except queue.Full:
            self.refusals.count("it came faster than it was read")

    def get(self) -> Datagram | None:
        """The next one; None where none comes for a moment. Raises SourceError where the socket failed."""
        try:
            return self._waiting.get(timeout=GLANCE_S)
        except queue.Empty:
            if self._listener.failure is not None:
                raise SourceError(f"the socket failed: {self._listener.failure.strerror}") from None
            return None


class _Listener:
    """The socket of one port and the thread that reads it."""

    def __init__(self, host: str, port: int) -> None:
        # Replaced as a whole, never changed: the thread reads it without a lock.
        self.subscriptions: tuple[Subscription, ...] = ()
        self.failure: OSError | None = None
        self._closed = False
        self._socket = _bound(host, port)
        self._thread = threading.Thread(target=self._listen, name=f"udp {host}:{port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        self._thread.join()

    def _listen(self) -> None:
        with self._socket:
            while not self._closed:
                try:
                    data, (sender, _) = self._socket.recvfrom(LONGEST_BYTES + 1)
                except TimeoutError:
                    continue
                except OSError as error:
                    self.failure = error
                    return
                self._hand_out(Datagram(data, sender, time.monotonic()))

    def _hand_out(self, datagram: Datagram) -> None:
        subscriptions = self.subscriptions
        takers = [s for s in subscriptions if s.sender == datagram.sender]
        takers = takers or [s for s in subscriptions if s.sender is None]
        for subscription in takers:
            subscription.put(datagram)
        if not takers:
            for subscription in subscriptions:
                subscription.refusals.count("it came from another sender", datagram.sender)


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        bound.settimeout(GLANCE_S)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise SourceError(f"cannot listen on UDP {host}:{port}: {error.strerror}") from error
    return bound


_listeners: dict[tuple[str, int], _Listener] = {}
_lock = threading.Lock()


@contextmanager
def subscribed(host: str, port: int, sender: str | None, refusals: Refusals) -> Iterator[Subscription]:
    """Datagrams that come to a local address and port. Raises SourceError where nobody may listen there."""
    with _lock:
        listener = _listeners.get((host, port))
        if listener is None or listener.failure is not None:
            listener = _listeners[host, port] = _Listener(host, port)
        subscription = Subscription(listener, sender, refusals)
        listener.subscriptions += (subscription,)
    try:
        yield subscription
    finally:
        with _lock:
            listener.subscriptions = tuple(s for s in listener.subscriptions if s is not subscription)
            if not listener.subscriptions:
                if _listeners.get((host, port)) is listener:
                    del _listeners[host, port]
                listener.close()
