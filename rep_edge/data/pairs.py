"""Pairs of picture and text as the label files of a set name them, and the folder that its pictures lie in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from rep_edge.data.windows import Targets
from rep_edge.errors import InputError

Side: TypeAlias = Literal["train", "validation", "test"]


class Pair(NamedTuple):
    """One example.

    recording: the movie, file or meme; picture: its file, not opened yet; text: what stands with it; side: of the
    published split.
    """

    recording: str
    picture: Path
    text: str
    side: Side


class Pairs(NamedTuple):
    """A whole set.

    name: what provenance calls it; labels: in logit order; pairs, targets: of all examples, in one order; report: what
    was left out or decided on the way, a line each.
    """

    name: str
    labels: tuple[str, ...]
    pairs: list[Pair]
    targets: Targets
    report: list[str]


class DataFolder:
    """The folder of a set: finds files by their names in listings, so that an index needs no file opened.

    Raises InputError where the folder is not there.
    """

    def __init__(self, root: str, holds: str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: there is no such folder; data.root names the folder that holds {holds}")
        self._listings: dict[str, frozenset[str]] = {}

    def find(self, name: str, where: str) -> Path | None:
        """The file of that name below the folder, parts joined by "/"; None where there is none.

        where: who names it, for the message. Raises InputError where the name leads out of the folder.
        """
        folder, _, base = name.rpartition("/")
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise InputError(f"{where}: {name!r} leads out of {self.root}; mend the name")
        return self.root / name if base in self.names(folder) else None

    def names(self, folder: str) -> frozenset[str]:
        """Names of what lies in a folder below, "" for the folder itself; none where it is not there."""
        if folder not in self._listings:
            path = os.path.join(self.root, folder)
            try:
                self._listings[folder] = frozenset(os.listdir(path)) if os.path.isdir(path) else frozenset()
            except OSError as error:
                raise InputError(f"{path}: cannot be listed ({error.strerror})") from error
        return self._listings[folder]


def one_side_each(recordings: list[tuple[str, str]]) -> None:
    """Raises InputError where a recording is named twice, on one side or on two. recordings: (where, recording)."""
    first: dict[str, str] = {}
    for where, recording in recordings:
        if recording in first:
            raise InputError(f"{where}: {recording} is there twice, first in {first[recording]}; keep one of them")
        first[recording] = where
