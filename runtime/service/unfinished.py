"""Tracks that were going on when the service was killed get their end when it starts again."""

from __future__ import annotations

import logging

import msgspec

from rep_edge.runtime.sinks.journal import Journal

LOGGER = logging.getLogger("rep_edge.service")

LATEST = 1000
"""Tracks that are looked at, the latest ones."""


def end_unfinished(journal: Journal) -> int:
    """Append an end to each track that has none, at the time up to which it was told of; how many there were."""
    unfinished = [event for event in journal.tracks(LATEST) if event.phase != "end"]
    for event in reversed(unfinished):
        number = int(event.id.rpartition(".")[2]) + 1
        journal.append(msgspec.structs.replace(event, id=f"{event.track}.{number}", phase="end"))
    if unfinished:
        LOGGER.warning("%d tracks were cut off when the service ended; each has its end now", len(unfinished))
    return len(unfinished)
