"""A recording as a live sensor, for demonstrations and tests: its samples come when they would have come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.runtime.sources.files import open_recording
from rep_edge.runtime.sources.live import Chunk, Refusals
from rep_edge.runtime.sources.pace import Pace, Speed
from rep_edge.runtime.sources.recording import Piece, existing
from rep_edge.signals import Stream


class PlaybackSource:
    """A WAV, FLAC or miniSEED file. Its clock is the file's: since 1970 for miniSEED, from 0 for sound.

    Gaps and overlaps of the file are kept. Opened again, it goes on where it was. loop: after the last sample the file
    begins anew, while its clock goes on. Raises InputError where there is no such file.
    """

    def __init__(
        self, path: Path, modality: Stream, channel: str | None = None, speed: Speed = "real", loop: bool = False
    ) -> None:
        if not existing(path):
            raise InputError(f"{path}: no such file")
        self.address = f"file:{path}"
        self.refusals = Refusals(self.address)
        self._path, self._modality, self._channel, self._loop = path, modality, channel, loop
        self._pace = Pace(modality.rate_hz, speed)
        self._passes, self._sent = 0, 0

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Chunks of about 0.1 s at the modality's rate, until the file ends. Raises InputError, MissingExtraError."""
        recording = open_recording(self._path, self._modality, self._channel)
        while True:
            for piece in islice(recording.pieces(), self._sent, None):
                start_s = piece.start_s + self._passes * recording.length_s
                chunk = self._pace.chunk(Piece(start_s, piece.values), stop)
                if chunk is None:
                    return
                self._sent += 1
                yield chunk
            if not self._loop:
                return
            self._passes, self._sent = self._passes + 1, 0
