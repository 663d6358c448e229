"""Events as lines of JSON in a file, which is rotated before it grows too large."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.sinks.sink import LOGGER, SinkError

MB = 1_000_000
TAIL_BYTES = 1 << 20
"""Bytes at the end of a file that one delivery may have written: more than a batch has."""


class JsonLinesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that grows by a line for each event.

    path: the file, such as "events.jsonl"; a relative one starts at the configuration file's folder.
    rotate_mb: size in megabytes at which it becomes <path>.1, and that <path>.2, and so on.
    keep: how many of these there are; the last one goes.
    """

    path: Path
    rotate_mb: float = 64.0
    keep: int = 5

    def __post_init__(self) -> None:
        if not self.path.name:
            raise ValueError('path: must name a file, such as "events.jsonl"')
        if not (math.isfinite(self.rotate_mb) and self.rotate_mb > 0):
            raise ValueError(f"rotate_mb: must be above 0, not {self.rotate_mb}")
        if self.keep < 1:
            raise ValueError(f"keep: must be at least 1, not {self.keep}")


class JsonLinesSink:
    """Whole lines only: an event has been delivered when its line is on the disk.

    What a power loss or a full disk left of a delivery that was not finished is cut off before the next one. The file
    may be moved away at any time; a new one begins.
    """

    name = "jsonl"
    most_s = 60.0

    def __init__(self, settings: JsonLinesSettings, base: Path) -> None:
        self._settings, self._path = settings, base / settings.path
        self._is_whole = False

    def deliver(self, events: Sequence[Event]) -> None:
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._is_whole:
                mend(self._path)
            self._is_whole = False  # until all is there
            self._rotate(len(lines))
            append(self._path, lines)
            self._is_whole = True
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is held open."""

    def _rotate(self, more_bytes: int) -> None:
        size = self._path.stat().st_size if self._path.exists() else 0
        if not size or size + more_bytes <= self._settings.rotate_mb * MB:
            return
        files = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, self._settings.keep + 1))]
        for newer, older in reversed(list(pairwise(files))):
            if newer.exists():
                newer.replace(older)


def append(path: Path, content: bytes) -> None:
    """Returns once the content is on the disk, and the file in its folder. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def mend(path: Path) -> None:
    """Cut off what is no whole line at the end of a file, and what was never written: a disk gives that back as zeros.

    Raises OSError.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
        written = tail.partition(b"\0")[0]
        end = start + written.rfind(b"\n") + 1
        if end == size:
            return
        file.truncate(end)
        os.fsync(file.fileno())
    LOGGER.warning("%s: %d bytes of an unfinished delivery cut off; it is delivered again", path, size - end)
