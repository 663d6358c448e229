"""What people said of tracks, read from a journal that a service may be using: nothing is written to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec

from rep_edge.errors import InputError
from rep_edge.runtime.events.marks import Mark


def read_marks(path: Path) -> list[Mark]:
    """In the order of the tracks' ids. Raises InputError where the file is not there or is no journal."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give the state_dir of the service's configuration")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT body FROM marks ORDER BY track").fetchall()
        return [msgspec.json.decode(body, type=Mark) for (body,) in rows]
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: cannot be read ({error}); is it the journal of rep-edge serve?") from error
