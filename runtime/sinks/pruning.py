"""Which events the journal lets go: the oldest first, by age and by size, and what nobody has got yet last of all."""

from __future__ import annotations

import math
import sqlite3

SPARE = 0.95
"""Share of its size that a journal is brought down to, so that not every event makes another one go."""

PATIENCE = 2.0
"""A journal may be so many times larger than it should be before undelivered events go."""


def remove(db: sqlite3.Connection, before_s: float, most_bytes: float, delivered: int) -> None:
    """In the transaction of the caller: remove what ended before `before_s`, and what is more than `most_bytes`.

    delivered: the last event that every sink has; later ones only go where the journal is PATIENCE times too large.
    Events go in the order in which they came, and end times are those of a clock that may have been set: one that is
    too late keeps those behind it until the size makes it go.
    """
    young = db.execute("SELECT sequence FROM events WHERE end_s >= ? ORDER BY sequence LIMIT 1", (before_s,)).fetchone()
    _remove_through(db, min(delivered, young[0] - 1) if young else delivered)
    if used_bytes(db) > most_bytes:
        _shrink(db, SPARE * most_bytes, delivered)
    if used_bytes(db) > PATIENCE * most_bytes:
        _shrink(db, SPARE * PATIENCE * most_bytes, None)


def used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something."""
    pages, free, page_bytes = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page_bytes


def _shrink(db: sqlite3.Connection, wanted_bytes: float, last: int | None) -> None:
    """Remove from the beginning, up to `last`, until no more than `wanted_bytes` are used."""
    while (used := used_bytes(db)) > wanted_bytes:
        first, end = db.execute("SELECT min(sequence), max(sequence) FROM events").fetchone()
        if first is None or (last is not None and first > last):
            return
        through = first - 1 + math.ceil((end - first + 1) * (1 - wanted_bytes / used))
        _remove_through(db, through if last is None else min(through, last))


def _remove_through(db: sqlite3.Connection, sequence: int) -> None:
    db.execute("DELETE FROM events WHERE sequence <= ?", (sequence,))
    db.execute("DELETE FROM tracks WHERE latest <= ?", (sequence,))
