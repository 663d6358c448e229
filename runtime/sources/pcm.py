"""Raw PCM on standard input, from whatever program can write it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator

from rep_edge.runtime.sources.frames import Format, Frames
from rep_edge.runtime.sources.live import Chunk, Refusals, SourceError
from rep_edge.runtime.sources.recording import PIECE_S
from rep_edge.signals import Stream

_LOOK_S = 0.2
"""Seconds between two looks at `stop`."""


class PcmSource:
    """Interleaved samples of the modality's channels, read from a file descriptor; its end ends the source.

    rate_hz: None: the modality's. The clock counts samples. Opened again, it goes on where it was.
    """

    def __init__(
        self, modality: Stream, format: Format = "s16le", rate_hz: float | None = None, descriptor: int = 0
    ) -> None:
        self.address = "-"
        self.refusals = Refusals(self.address)
        rate_hz = rate_hz or modality.rate_hz
        self._descriptor, self._frames = descriptor, Frames(format, modality, rate_hz, time.monotonic())
        # A chunk in the pipe may be hours of a file: read as much of it as a sensor would deliver at once.
        self._read_bytes = max(1, round(PIECE_S * rate_hz)) * modality.channels * 4

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Chunks until the input ends or `stop`. Raises SourceError where it cannot be read."""
        try:
            while not stop.is_set():
                if not select.select([self._descriptor], [], [], _LOOK_S)[0]:
                    continue
                read = os.read(self._descriptor, self._read_bytes)
                if not read:
                    return
                chunk = self._frames.chunk(read, time.monotonic())
                if chunk is not None:
                    yield chunk
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.address}: cannot be read ({error})") from error
