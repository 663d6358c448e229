"""The journal: what was heard, on the disk before anybody is told, and how far each sink has come with it."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from rep_edge.errors import InputError
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.notices import Notices
from rep_edge.runtime.sinks import pruning
from rep_edge.runtime.sinks.journal_file import is_damage, open_file, set_aside
from rep_edge.runtime.sinks.sink import LOGGER

T = TypeVar("T")

MB = 1_000_000
DAY_S = 86_400.0


class JournalError(Exception):
    """The journal did not do what it was asked to (a full disk, say): one line that says why. Try again."""


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept.

    keep_days: events that ended longer ago go.
    keep_mb: size of the journal in megabytes from which the oldest events go. Those that a sink has not delivered stay
    until it is twice as large: keep_mb bounds how long a receiver may be away.
    """

    keep_days: float = 90.0
    keep_mb: float = 200.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.keep_days) and self.keep_days > 0):
            raise ValueError(f"keep_days: must be above 0, not {self.keep_days}")
        if not (math.isfinite(self.keep_mb) and self.keep_mb >= 1):
            raise ValueError(f"keep_mb: must be at least 1, not {self.keep_mb}")


class Pruned(NamedTuple):
    """What a pruning did. removed: events; lost: sink -> how many of them it had not delivered."""

    removed: int
    lost: dict[str, int]


class _Place(NamedTuple):
    """How far a sink has come: sequence number of the last event that it has done with, and how many it lost."""

    cursor: int
    lost: int


class Journal:
    """journal.append(event): once it returns, neither a crash nor a power loss takes the event away.

    Events have sequence numbers, 1, 2, 3 ... in the order in which they were appended, also over restarts. A sink that
    registers for the first time begins with what is appended after that; later on, it goes on where it was.

    Threads may share it. `behind`, `cursor`, `lost` and `count` never wait for the disk. All else raises JournalError
    where the disk fails; a file that turns out to be damaged is set aside, and the next call finds a new one.
    Opening raises InputError where the file cannot be opened, or was written by a newer version.
    """

    def __init__(self, path: Path, settings: JournalSettings | None = None) -> None:
        self.path, self.settings = path, settings or JournalSettings()
        self._lock = threading.Lock()
        self._notices = Notices(LOGGER)
        self._sinks: dict[str, _Place] = {}
        self._db = open_file(path)
        self._first, self._last = _span(self._db)

    def append(self, event: Event) -> int:
        """The event's sequence number, once it is on the disk; one that is there already is not taken again."""
        row = (event.id, event.track, event.end_s, msgspec.json.encode(event))
        track = (event.track, event.node, event.label, event.start_s)
        with self._writing() as db:
            known = db.execute("SELECT sequence FROM events WHERE id = ?", (event.id,)).fetchone()
            if known:
                return int(known[0])
            added = db.execute("INSERT INTO events (id, track, end_s, body) VALUES (?, ?, ?, ?)", row).lastrowid
            db.execute("INSERT OR REPLACE INTO tracks VALUES (?, ?, ?, ?, ?)", (*track, added))
        assert added is not None
        with self._lock:
            self._last = max(self._last, added)
        return added

    def after(self, sequence: int, limit: int) -> list[tuple[int, Event]]:
        """At most `limit` events behind a sequence number, in order, each with its own."""
        query = "SELECT sequence, body FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
        rows = self._rows(query, (sequence, limit))
        return [(at, event) for at, body in rows if (event := self._decoded(body, Event))]

    def register(self, sink: str) -> None:
        """From now on, what this sink has not delivered is kept for it."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO sinks VALUES (?, ?, 0)", (sink, self._last))
            cursor, lost = db.execute("SELECT cursor, lost FROM sinks WHERE name = ?", (sink,)).fetchone()
        # What went while it was not registered is lost to it.
        self._sinks[sink] = _Place(cursor, lost + max(0, self._first - 1 - cursor))

    def cursor(self, sink: str) -> int:
        """Sequence number of the last event that a registered sink is done with, 0 for none."""
        return self._sinks[sink].cursor

    def advance(self, sink: str, sequence: int, lost: int = 0) -> None:
        """A registered sink is done with all events up to a sequence number; lost: how many of them it gave up.

        That is known at once, and on the disk when this returns.
        """
        with self._writing() as db:
            place = self._sinks[sink]
            place = self._sinks[sink] = _Place(max(place.cursor, sequence), place.lost + lost)
            db.execute("INSERT OR REPLACE INTO sinks VALUES (?, ?, ?)", (sink, *place))

    def behind(self, sink: str) -> int:
        """How many events a registered sink has still to deliver."""
        return self._last - max(self.cursor(sink), self._first - 1)

    def lost(self, sink: str) -> int:
        """How many events a registered sink never delivered, since it was registered first."""
        return self._sinks[sink].lost

    def tracks(
        self, limit: int, before_s: float | None = None, node: str | None = None, label: str | None = None
    ) -> list[Event]:
        """The latest event of each track, the newest onset first; those that began before a time in s since 1970.

        Tracks that began at the same time as the last one come along, so that the next page can begin before it.
        """
        wanted = "start_s < :before_s AND (:node IS NULL OR node = :node) AND (:label IS NULL OR label = :label)"
        last = f"SELECT start_s FROM tracks WHERE {wanted} ORDER BY start_s DESC LIMIT 1 OFFSET :more"
        query = f"""SELECT body FROM tracks JOIN events ON sequence = latest
            WHERE {wanted} AND start_s >= coalesce(({last}), -9e999) ORDER BY start_s DESC, latest DESC"""
        before_s = math.inf if before_s is None else before_s
        rows = self._rows(query, {"before_s": before_s, "node": node, "label": label, "more": limit - 1})
        return [event for (body,) in rows if (event := self._decoded(body, Event))]

    def track(self, track: str) -> list[Event]:
        """All events of a track that are kept, in order."""
        rows = self._rows("SELECT body FROM events WHERE track = ? ORDER BY sequence", (track,))
        return [event for (body,) in rows if (event := self._decoded(body, Event))]

    def count(self) -> int:
        """How many events are kept."""
        return self._last - self._first + 1

    def mark(self, mark: Mark) -> None:
        """Keep what a person says of a track, in the place of what was said before; it outlives the track's events."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (mark.track, msgspec.json.encode(mark)))

    def marks(self) -> list[Mark]:
        """What people said of tracks, in the order of the tracks' ids."""
        rows = self._rows("SELECT body FROM marks ORDER BY track")
        return [mark for (body,) in rows if (mark := self._decoded(body, Mark))]

    def prune(self, now_s: float) -> Pruned:
        """Remove what the settings do not keep, and give its space back; now_s: in s since 1970."""
        delivered = min((place.cursor for place in self._sinks.values()), default=self._last)
        before = self._first
        with self._writing() as db:
            old_s = now_s - self.settings.keep_days * DAY_S
            pruning.remove(db, old_s, self.settings.keep_mb * MB, delivered)
        with self._reading() as db:
            db.executescript("PRAGMA incremental_vacuum")  # `execute` frees one page only
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            first, _ = _span(db)
        lost = {name: first - 1 - place.cursor for name, place in self._sinks.items() if place.cursor < first - 1}
        for name, count in lost.items():
            LOGGER.error("journal: full, %d events go that %s has not delivered", count, name)
            self.advance(name, first - 1, count)
        self._first = first
        return Pruned(first - before, lost)

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk."""
        total = 0
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                total += Path(f"{self.path}{ending}").stat().st_size
        return total

    def close(self) -> None:
        """Whatever is asked after that raises JournalError."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                self._recover(error)
                raise JournalError(f"{self.path}: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, which is on the disk when the block is left."""
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def _recover(self, error: sqlite3.Error) -> None:
        """After an error: no transaction is left open, and the file is not a damaged one."""
        with suppress(sqlite3.Error):
            self._db.rollback()
        if not is_damage(error):
            return
        try:
            self._begin_anew(str(error))
        except (InputError, OSError, sqlite3.Error) as failure:
            LOGGER.error("%s: is damaged, and no new one can be begun: %s", self.path, failure)

    def _begin_anew(self, why: str) -> None:
        self._db.close()
        set_aside(self.path, why)
        self._db = open_file(self.path)
        # Numbers go on, so that no sink takes new events for ones that it has delivered.
        self._db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (self._last,))
        self._first = self._last + 1
        for name, place in self._sinks.items():
            self._sinks[name] = _Place(self._last, place.lost + self._last - place.cursor)
            self._db.execute("INSERT INTO sinks VALUES (?, ?, ?)", (name, *self._sinks[name]))

    def _rows(self, query: str, values: tuple[object, ...] | dict[str, object] = ()) -> list[Any]:
        with self._reading() as db:
            return db.execute(query, values).fetchall()

    def _decoded(self, body: bytes, kind: type[T]) -> T | None:
        """None for what a disk has changed: SQLite keeps no checksums of it."""
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            self._notices.tell("body", f"{self.path}: holds an entry that cannot be read ({error}), left out")
            return None


def _span(db: sqlite3.Connection) -> tuple[int, int]:
    """Sequence numbers of the first event that is kept and of the last one that was; (n + 1, n) where none is kept."""
    counted = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    last = int(counted[0]) if counted else 0
    first = db.execute("SELECT min(sequence) FROM events").fetchone()[0]
    return (last + 1 if first is None else int(first)), last
