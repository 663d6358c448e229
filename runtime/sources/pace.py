"""When the samples of a recording come: as fast as they were recorded, or at once."""

from __future__ import annotations

import threading
import time
from typing import Literal

from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.sources.recording import Piece

Speed = Literal["real", "max"]


class Pace:
    """Turns pieces into chunks at the time at which a sensor would have delivered them.

    The first piece begins now, whatever its own clock says; the others keep their distance from it. At "max" nothing
    is waited for, and chunks state when they would have come.
    """

    def __init__(self, rate_hz: float, speed: Speed) -> None:
        self._rate_hz, self._speed = rate_hz, speed
        self._ahead_s: float | None = None
        self._latest_s = 0.0

    def chunk(self, piece: Piece, stop: threading.Event) -> Chunk | None:
        """The piece once it is due; None where `stop` was set before."""
        if self._ahead_s is None:
            self._ahead_s = time.monotonic() - piece.start_s
        due_s = self._ahead_s + piece.start_s + piece.values.shape[1] / self._rate_hz
        # What overlaps with what came before comes after it all the same.
        self._latest_s = max(self._latest_s, due_s)
        if self._speed == "max":
            return None if stop.is_set() else Chunk(piece.values, piece.start_s, self._rate_hz, self._latest_s)
        if stop.wait(max(0.0, self._latest_s - time.monotonic())):
            return None
        return Chunk(piece.values, piece.start_s, self._rate_hz, time.monotonic())
