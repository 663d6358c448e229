"""The journal's file: opened and checked, or set aside where it is damaged, and then begun anew."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.runtime.sinks.sink import LOGGER

VERSION = 1
TABLES = """
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    track TEXT NOT NULL,
    end_s REAL NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX events_by_track ON events (track);
CREATE TABLE tracks (
    track TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    label TEXT NOT NULL,
    start_s REAL NOT NULL,
    latest INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tracks_by_start ON tracks (start_s);
CREATE TABLE sinks (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, lost INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (track TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
"""Sequence numbers are never given twice, and have no holes but for what was removed at the beginning."""

LOG_BYTES = 4 << 20
"""What the write-ahead log keeps of its size once its content is in the database."""

MOST_ASIDE = 2
"""Damaged journals that are kept, for people to look into."""


def open_file(path: Path) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time; every commit is on the disk when it returns.

    A file that is damaged is set aside, which is logged. Raises InputError where the file cannot be opened, or was
    written by a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _checked(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            set_aside(path, str(error))
            return _checked(path)
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be opened ({reason}); free space or choose another state_dir") from error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite found that the file is not what it wrote; a full disk and the like are subclasses."""
    return type(error) is sqlite3.DatabaseError


def set_aside(path: Path, why: str) -> None:
    """Rename a damaged journal and what belongs to it, and say so. Of older ones, the latest stay."""
    aside = path.with_name(f"{path.stem}.damaged-{datetime.now():%Y%m%dT%H%M%S.%f}")
    for ending in ("", "-wal"):
        with suppress(FileNotFoundError):
            Path(f"{path}{ending}").replace(f"{aside}{ending}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    found = (file for file in path.parent.glob(f"{path.stem}.damaged-*") if not file.name.endswith("-wal"))
    for old in sorted(found, key=lambda file: file.stat().st_mtime_ns)[:-MOST_ASIDE]:
        old.unlink()
        Path(f"{old}-wal").unlink(missing_ok=True)
    _sync_folder(path.parent)
    LOGGER.error(
        "%s: is damaged (%s), kept as %s; a new one begins, and what was not delivered is lost", path, why, aside.name
    )


def _checked(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only a file without tables takes it
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise InputError(f"{path}: was written by a newer version of rep-edge; update it or move the file away")
        problems = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise sqlite3.DatabaseError(problems[0])
        if version == 0:
            db.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {VERSION};COMMIT;")
            _sync_folder(path.parent)
            _sync_folder(path.parent.parent)
    except BaseException:
        db.close()
        raise
    return db


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
