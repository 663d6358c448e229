"""An SDS archive, as SeisComP and ObsPy keep it: a miniSEED file for each day and channel, played day after day."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.live import Chunk, Refusals
from rep_edge.runtime.sources.pace import Pace, Speed
from rep_edge.runtime.sources.recording import Piece
from rep_edge.runtime.sources.seismogram import read_seismogram
from rep_edge.signals import Stream

DAY_S = 86400.0


class SdsSource:
    """One channel of an archive from `begin_s` to before `end_s`, in s since 1970.

    station: "NET.STA.LOC.CHA"; a location code may be empty. Missing days are gaps. A day file that cannot be read is
    counted as refused, and a gap. Opened again, it goes on where it was. Raises InputError for another form of station,
    a modality of several channels, and an archive that has no day of it.
    """

    def __init__(
        self,
        archive: Path,
        modality: Stream,
        station: str,
        begin_s: float = -math.inf,
        end_s: float = math.inf,
        speed: Speed = "real",
    ) -> None:
        self.address = f"sds:{archive}?station={station}"
        self.refusals = Refusals(self.address)
        if not re.fullmatch(r"\w+\.\w+\.\w*\.\w+", station):
            raise InputError(f"{self.address}: station must be NET.STA.LOC.CHA, such as AM.R24FA.00.EHZ")
        if modality.channels != 1:
            raise InputError(f"{self.address}: is one channel, {modality.name} has {modality.channels}")
        self._archive, self._modality, self._station = archive, modality, station
        self._begin_s, self._end_s = begin_s, end_s
        if not self._days():
            raise InputError(f"{self.address}: the archive has no file of this station and time")
        self._pace = Pace(modality.rate_hz, speed)

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Chunks of about 0.1 s at the modality's rate, until the archive ends. Raises MissingExtraError."""
        for piece in self._pieces():
            chunk = self._pace.chunk(piece, stop)
            if chunk is None:
                return
            self._begin_s = chunk.start_s + chunk.values.shape[1] / chunk.rate_hz
            yield chunk

    def _pieces(self) -> Iterator[Piece]:
        for path in self._days():
            try:
                day = read_seismogram(path, self._modality, self._station)
            except MissingExtraError:
                raise
            except InputError as error:
                self.refusals.count("unreadable day file", str(error))
                continue
            for piece in day.pieces():
                inner = self._within(piece)
                if inner.values.size:
                    yield inner

    def _within(self, piece: Piece) -> Piece:
        """What of a piece is in the span and was not played yet: day files overlap around midnight."""
        rate_hz, n = self._modality.rate_hz, piece.values.shape[1]
        first, last = (round(min(max(0.0, (s - piece.start_s) * rate_hz), n)) for s in (self._begin_s, self._end_s))
        return Piece(piece.start_s + first / rate_hz, piece.values[:, first:last])

    def _days(self) -> list[Path]:
        """The day files that may hold samples of the span, by day: a record that begins before midnight reaches on."""
        network, name, _, code = self._station.split(".")
        found = {}
        for path in self._archive.glob(f"*/{network}/{name}/{code}.D/{self._station}.D.*.*"):
            try:
                midnight = datetime.strptime(path.name[-8:], "%Y.%j").replace(tzinfo=timezone.utc)
            except (ValueError, OverflowError):
                continue
            found[midnight.timestamp()] = path
        return [found[day_s] for day_s in sorted(found) if self._begin_s - 2 * DAY_S < day_s < self._end_s + DAY_S]
