"""One channel of a station from a SeedLink server: records of miniSEED as the station fills them.

SeedLink 3, station mode: HELLO, STATION, SELECT, DATA, END; then packets of 8 bytes "SL" + sequence number in six
hexadecimal digits and a record of 512 bytes (see the SeisComP manual, "SeedLink"). ObsPy's client speaks the commands;
the socket is ours, for ObsPy waits and tries again for ever where a server is silent.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.live import Chunk, Refusals, SourceError
from rep_edge.runtime.sources.packet import fault_of
from rep_edge.runtime.sources.waiting import GLANCE_S, unless_stopped
from rep_edge.signals import Stream

CONNECT_S = 5.0
ANSWER_S = 10.0
SILENCE_S = 60.0
"""Seconds: until the server is connected to, until it answers a command, and between two records."""

HEADER_BYTES, RECORD_BYTES = 8, 512

LAST_SEQUENCE = 0xFFFFFF
NEXT = -1
"""In the place of a sequence number: begin with the next record that comes."""

_CODES = {"network": r"[A-Z0-9]{1,2}", "station": r"[A-Z0-9]{1,5}", "location": r"[A-Z0-9]{0,2}|--"}
_CODES["channel"] = r"[A-Z0-9]{3}"


class SeedLinkSource:
    """One channel of one station.

    location: "" or "--" where the channel has none. Opened again, it goes on after the last record that came. Raises
    InputError for codes that are none and a modality of several channels; MissingExtraError without ObsPy or pymseed.
    """

    def __init__(
        self,
        modality: Stream,
        host: str,
        port: int = 18000,
        *,
        network: str,
        station: str,
        location: str,
        channel: str,
    ) -> None:
        self.address = f"seedlink:{host}:{port}/{network}.{station}.{location}.{channel}"
        codes = {"network": network, "station": station, "location": location, "channel": channel}
        for name, code in codes.items():
            if not re.fullmatch(_CODES[name], code):
                raise InputError(f"{self.address}: {code!r} is no {name} code; give NET.STA.LOC.CHA, AM.R24FA.00.EHZ")
        if modality.channels != 1:
            raise InputError(f"{self.address}: is one channel, {modality.name} has {modality.channels}")
        _require_packages()
        self.refusals = Refusals(self.address)
        self._host, self._port, self._network, self._station = host, port, network, station
        location = location.replace("--", "")
        self._selector = f"{location}{channel}.D"
        self._identity = f"{station:<5}{location:<2}{channel}{network:<2}".encode()
        self._sequence = NEXT

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Records as they come. Raises SourceError for a server that is not there, says no, closes or is silent."""
        connect = partial(socket.create_connection, (self._host, self._port), CONNECT_S)
        try:
            connected = unless_stopped(connect, stop)
        except OSError as error:
            raise SourceError(f"{self.address}: cannot be reached, {error.strerror or error}") from error
        if connected is None:
            return
        with connected:
            wire = _Wire(connected, stop)
            self._negotiate(wire)
            wire.patience_s = SILENCE_S
            received = bytearray()
            while not wire.stopped:
                received += self._receive(wire)
                yield from self._take(received, time.monotonic())

    def _negotiate(self, wire: _Wire) -> None:
        """Ask for the channel. Raises SourceError where the answer is no."""
        from obspy.clients.seedlink.client.seedlinkconnection import SeedLinkConnection

        connection = SeedLinkConnection()
        connection.sladdr, connection.socket = f"{self._host}:{self._port}", wire
        connection.add_stream(self._network, self._station, self._selector, self._sequence, None)
        try:
            connection.say_hello()
            connection.config_link()
        except Exception as error:  # ObsPy raises what it comes upon in an answer that is none
            if wire.stopped:
                return
            if wire.failure is None:
                # It may be the number that the server has forgotten.
                self._sequence = NEXT
            raise SourceError(f"{self.address}: {wire.failure or 'the server does not offer this channel'}") from error

    def _receive(self, wire: _Wire) -> bytes:
        try:
            return wire.recv(HEADER_BYTES + RECORD_BYTES)
        except OSError as error:
            if wire.stopped:
                return b""
            raise SourceError(f"{self.address}: {wire.failure}") from error

    def _take(self, received: bytearray, arrived_s: float) -> Iterator[Chunk]:
        """Chunks of all packets that have come whole; they are removed."""
        while len(received) >= HEADER_BYTES:
            header = re.fullmatch(rb"SL([0-9A-Fa-f]{6})", received[:HEADER_BYTES])
            if not header:
                raise SourceError(f"{self.address}: the server sent something else than a packet")
            if len(received) < HEADER_BYTES + RECORD_BYTES:
                return
            record = bytes(received[HEADER_BYTES : HEADER_BYTES + RECORD_BYTES])
            del received[: HEADER_BYTES + RECORD_BYTES]
            sequence = int(header[1], 16)
            self._sequence = sequence if sequence < LAST_SEQUENCE else NEXT
            chunk = self._chunk(record, arrived_s)
            if isinstance(chunk, str):
                self.refusals.count(chunk)
            else:
                yield chunk

    def _chunk(self, record: bytes, arrived_s: float) -> Chunk | str:
        """The record's samples, or why it is refused, in fixed words."""
        # Bytes 8 to 20 of a record of miniSEED 2: station, location, channel and network.
        if record[8:20] != self._identity:
            return "it is of another station or channel"
        decoded = _decode(record)
        if decoded is None:
            return "it is no record that can be decoded"
        return fault_of(*decoded) or Chunk(*decoded, arrived_s)


class _Wire:
    """A socket as ObsPy uses one, that fails in bounded time and when it is to stop.

    failure: why it failed, in words; ObsPy swallows the error itself.
    """

    def __init__(self, connected: socket.socket, stop: threading.Event) -> None:
        connected.settimeout(GLANCE_S)
        self._socket, self._stop = connected, stop
        self.patience_s = ANSWER_S
        self.failure: str | None = None

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def recv(self, most: int) -> bytes:
        """At least one byte. Raises OSError, after a stop too: ObsPy asks again where nothing came."""
        deadline_s = time.monotonic() + self.patience_s
        while not self.stopped:
            try:
                data = self._socket.recv(most)
            except TimeoutError:
                if time.monotonic() < deadline_s:
                    continue
                self.failure = f"the server sent nothing for {self.patience_s:g} s"
                raise
            except OSError as error:
                self.failure = f"the connection failed, {error.strerror or error}"
                raise
            if not data:
                self.failure = "the server closed the connection"
                raise ConnectionError(self.failure)
            return data
        raise ConnectionAbortedError


def _decode(record: bytes) -> tuple[NDArray[np.float32], float, float] | None:
    """Counts [1, n], start in s since 1970 and rate in Hz of the record that fills these bytes; None for no such."""
    import pymseed

    try:
        # The loop holds the memory of the samples, so that it is left with a copy of them.
        for found in pymseed.MS3Record.from_buffer(record, unpack_data=True):
            if found.reclen != len(record) or found.sampletype not in ("i", "f", "d"):
                return None
            with np.errstate(over="ignore"):
                values = np.array(found.np_datasamples, dtype=np.float32)[None]
            return values, float(found.starttime_seconds), float(found.samprate)
    except (pymseed.PymseedError, ValueError):
        pass
    return None


def _require_packages() -> None:
    try:
        import obspy.clients.seedlink
    except ImportError as error:
        raise MissingExtraError("seedlink", "obspy") from error
    try:
        import pymseed  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("sensors", "pymseed") from error
    # It logs what a server answers, unbounded; the reason that people need stands in our SourceError.
    logging.getLogger(obspy.clients.seedlink.__name__).setLevel(logging.CRITICAL)
