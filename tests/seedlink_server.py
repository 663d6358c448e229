"""A small SeedLink server for tests: SeedLink 3 in station mode, as far as a client of one channel needs it."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from obspy import Trace, UTCDateTime

RECORD_BYTES = 512
SEQUENCES = 1 << 24


def record(
    counts: NDArray[np.generic] | Sequence[int],
    start_s: float,
    rate_hz: float = 100.0,
    name: str = "AM.R24FA.00.EHZ",
) -> bytes:
    """One record of miniSEED, 512 bytes; start_s: since 1970."""
    network, station, location, channel = name.split(".")
    header = {"network": network, "station": station, "location": location, "channel": channel}
    values = np.asarray(counts)
    values = values.astype(np.int32) if values.dtype.kind == "i" else values
    trace = Trace(values, {**header, "sampling_rate": rate_hz, "starttime": UTCDateTime(start_s)})
    written = io.BytesIO()
    trace.write(written, "MSEED", reclen=RECORD_BYTES)
    assert len(written.getvalue()) == RECORD_BYTES, "the samples fill more than one record"
    return written.getvalue()


class SeedLinkServer:
    """with SeedLinkServer() as server: server.add(record(...))

    Records get ascending numbers from `first` on and are kept, so that clients may ask for them again. stop() drops all
    clients; start() brings the server back on its port. Numbers that it has not are refused.
    """

    host = "127.0.0.1"

    def __init__(self, station: str = "R24FA", network: str = "AM", first: int = 1) -> None:
        self.asked: list[str] = []
        self.clients = 0
        self._station, self._first = f"{station} {network}", first
        self._packets: list[bytes] = []
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        self.port = 0

    def __enter__(self) -> SeedLinkServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        listening = socket.create_server((self.host, self.port))
        self.port = listening.getsockname()[1]
        self._sockets = [listening]
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def stop(self) -> None:
        with self._changed:
            sockets, self._sockets = self._sockets, []
            self._changed.notify_all()
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def add(self, content: bytes) -> None:
        """A record for all clients, the ones to come included."""
        with self._changed:
            number = (self._first + len(self._packets)) % SEQUENCES
            self._packets.append(b"SL%06X" % number + content)
            self._changed.notify_all()

    def add_raw(self, packet: bytes) -> None:
        """Bytes that need be no packet."""
        with self._changed:
            self._packets.append(packet)
            self._changed.notify_all()

    def wait_for_client(self) -> None:
        """Until another client has asked for data and gets what is added from now on."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.clients > 0, timeout=10), "no client came"

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                with self._changed:
                    self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            commands = client.makefile("rb")
            position = len(self._packets)
            received = b""
            while True:
                # Commands end in a carriage return alone.
                received = commands.read(1) if received.endswith(b"\r") else received + commands.read(1)
                if not received.endswith(b"\r"):
                    if not received:
                        return
                    continue
                command, *arguments = received.decode().split()
                self.asked.append(" ".join((command, *arguments)))
                if command == "HELLO":
                    client.sendall(b"SeedLink v3.1 (2020.075) :: SLPROTO:3.1\r\nTest\r\n")
                elif command == "END":
                    break
                elif command == "BYE":
                    return
                elif command == "STATION" and " ".join(arguments) != self._station:
                    client.sendall(b"ERROR\r\n")
                elif command == "DATA" and arguments:
                    position = int(arguments[0], 16) - self._first
                    client.sendall(b"OK\r\n" if 0 <= position <= len(self._packets) else b"ERROR\r\n")
                else:
                    client.sendall(b"OK\r\n")
            self._stream(client, position)

    def _stream(self, client: socket.socket, position: int) -> None:
        with self._changed:
            self.clients += 1
            self._changed.notify_all()
            while client in self._sockets:
                while position < len(self._packets):
                    client.sendall(self._packets[position])
                    position += 1
                self._changed.wait(1.0)
