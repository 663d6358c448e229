"""Play a miniSEED recording as a Raspberry Shake: its UDP datacast to this machine, in real time, over and over.

python examples/play_shake.py recording.mseed [--to 127.0.0.1:8888] [--channels EHZ ENZ] [--once]
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pymseed
from numpy.typing import NDArray

PACKET_S = 0.25
"""What a Shake puts into one packet: 25 samples at 100 Hz."""


def read(path: Path, channels: list[str]) -> dict[str, tuple[float, NDArray[np.int32]]]:
    """Channel -> rate in Hz and counts, of the first segment of each."""
    found = {}
    for trace in pymseed.MS3TraceList.from_file(str(path), unpack_data=True):
        channel = "".join(trace.sourceid.split("_")[-3:])
        segment = next(iter(trace))
        found[channel] = (float(segment.samprate), np.array(segment.np_datasamples, dtype=np.int32))
    missing = [channel for channel in channels if channel not in found]
    if missing:
        sys.exit(f"error: {path}: has no channel {missing[0]}; it has {', '.join(sorted(found))}")
    return {channel: found[channel] for channel in channels or sorted(found)}


def rounds(traces: dict[str, tuple[float, NDArray[np.int32]]], once: bool) -> Iterator[dict[str, NDArray[np.int32]]]:
    """The counts of one packet of each channel, again and again."""
    number = 0
    while True:
        parts = {}
        for channel, (rate_hz, counts) in traces.items():
            start, size = number * round(PACKET_S * rate_hz), round(PACKET_S * rate_hz)
            if once and start + size > len(counts):
                return
            parts[channel] = np.take(counts, range(start, start + size), mode="wrap")
        number += 1
        yield parts


def main() -> None:
    parser = argparse.ArgumentParser(description="Play a miniSEED recording as the datacast of a Raspberry Shake.")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--to", default="127.0.0.1:8888", help="HOST:PORT (default: 127.0.0.1:8888)")
    parser.add_argument("--channels", nargs="*", default=[], help="such as EHZ ENZ (default: all that there are)")
    parser.add_argument("--once", action="store_true", help="stop at the end instead of beginning anew")
    options = parser.parse_args()
    if not options.recording.is_file():
        sys.exit(f"error: {options.recording}: no such file")
    host, _, port = options.to.rpartition(":")
    traces = read(options.recording, options.channels)
    print(f"playing {', '.join(traces)} to {options.to}; Ctrl-C stops", flush=True)
    began_s, offset_s = time.monotonic(), time.time() - time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, parts in enumerate(rounds(traces, options.once)):
            start_s = began_s + number * PACKET_S
            time.sleep(max(0.0, start_s + PACKET_S - time.monotonic()))
            for channel, counts in parts.items():
                packet = f"{{'{channel}', {start_s + offset_s:.3f}, {', '.join(map(str, counts))}}}"
                sender.sendto(packet.encode(), (host, int(port)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print()
