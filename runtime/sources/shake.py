"""A Raspberry Shake's datacast: UDP packets of text, each some samples of one channel.

One packet is `{'EHZ', 1588000000.123, 1, -2, 3}`: the channel, the time of the first sample in s since 1970, counts.
It names no station, so that stations are told apart by the address they send from. Packets may get lost; the gaps show
in the times. See the manual of Raspberry Shake, "UDP data stream".
"""

from __future__ import annotations

import ipaddress
import math
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.sources.datagrams import LONGEST_BYTES, Datagram, subscribed
from rep_edge.runtime.sources.live import Chunk, Refusals
from rep_edge.runtime.sources.packet import fault_of
from rep_edge.signals import Stream

SILENCE_S = 10.0
"""Seconds after which another sender may take a silent one's place, where none is named."""

LARGEST_COUNT = 2**31

INFRASOUND_HZ = 100.0
"""Sampling rate of the infrasound channel HDF."""

_PACKET = re.compile(rb"\{'([A-Z0-9]{3})',\s?(\d{1,15}(?:\.\d{0,9})?)((?:,\s?-?\d{1,10})+)\}\s?")


class Packet(NamedTuple):
    """values: counts, float32 [1, n], n >= 1; start_s: time of the first one in s since 1970."""

    channel: str
    start_s: float
    values: NDArray[np.float32]


def parse_packet(data: bytes) -> Packet | str:
    """The packet, or why it is none, in fixed words."""
    if len(data) > LONGEST_BYTES:
        return f"it is longer than {LONGEST_BYTES} bytes"
    match = _PACKET.fullmatch(data)
    if not match:
        return "it is no datacast packet"
    counts = [int(count) for count in match[3][1:].split(b",")]
    if max(map(abs, counts)) > LARGEST_COUNT:
        return "it holds counts beyond 32 bits"
    return Packet(match[1].decode(), float(match[2]), np.array([counts], dtype=np.float32))


class ShakeSource:
    """One channel of one Raspberry Shake that sends to this machine.

    host, port: the local address to listen on; streams of one process may share it. sender: the IP address of the
    Shake; None: the first one that sends the channel, until it has been silent for SILENCE_S. rate_hz: of the channel,
    which packets do not say. Raises InputError for a channel that is none, or none for the modality.
    """

    def __init__(
        self,
        modality: Stream,
        host: str,
        port: int = 8888,
        channel: str = "EHZ",
        sender: str | None = None,
        rate_hz: float = 100.0,
    ) -> None:
        self.address = f"shake:{host}:{port}?channel={channel}" + (f"&sender={sender}" if sender else "")
        _check(self.address, modality, channel, sender, rate_hz)
        self.refusals = Refusals(self.address)
        self._host, self._port, self._channel, self._rate_hz = host, port, channel, rate_hz
        self._sender = sender
        self._taken, self._heard_s = sender, -math.inf

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Packets as they come; a Shake that falls silent is waited for. Raises SourceError without a socket."""
        with subscribed(self._host, self._port, self._sender, self.refusals) as subscription:
            while not stop.is_set():
                datagram = subscription.get()
                chunk = self._chunk(datagram) if datagram is not None else None
                if chunk is not None:
                    yield chunk

    def _chunk(self, datagram: Datagram) -> Chunk | None:
        packet = parse_packet(datagram.data)
        if isinstance(packet, str):
            self.refusals.count(packet, f"from {datagram.sender}")
            return None
        # A Shake sends all its channels to one port.
        if packet.channel != self._channel:
            return None
        fault = fault_of(packet.values, packet.start_s, self._rate_hz)
        if fault is None and not self._is_from_ours(datagram):
            fault = "it came from another sender"
        if fault is not None:
            self.refusals.count(fault, f"from {datagram.sender}")
            return None
        return Chunk(packet.values, packet.start_s, self._rate_hz, datagram.arrived_s)

    def _is_from_ours(self, datagram: Datagram) -> bool:
        if self._sender is None and datagram.arrived_s - self._heard_s >= SILENCE_S:
            self._taken = datagram.sender
        if datagram.sender != self._taken:
            return False
        self._heard_s = datagram.arrived_s
        return True


def _check(address: str, modality: Stream, channel: str, sender: str | None, rate_hz: float) -> None:
    if not re.fullmatch(r"[A-Z0-9]{3}", channel):
        raise InputError(f"{address}: channel must be a code of three, such as EHZ, not {channel!r}")
    if modality.channels != 1:
        raise InputError(f"{address}: is one channel, {modality.name} has {modality.channels}; take another source")
    if channel == "HDF" and modality.rate_hz > 2 * INFRASOUND_HZ:
        raise InputError(
            f"{address}: HDF is infrasound at {INFRASOUND_HZ:g} Hz, no substitute for {modality.name} at "
            f"{modality.rate_hz:g} Hz; use a microphone, mic:"
        )
    if not 0 < rate_hz < math.inf:
        raise InputError(f"{address}: rate_hz must be above 0, not {rate_hz}")
    try:
        ipaddress.IPv4Address(sender or "0.0.0.0")
    except ValueError as error:
        raise InputError(f"{address}: sender must be an IP address such as 192.168.1.9, not {sender}") from error
