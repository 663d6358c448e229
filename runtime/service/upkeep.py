"""What must be done now and then: old things removed, the state written and told."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec

from rep_edge.errors import InputError
from rep_edge.files import write_file
from rep_edge.runtime.service import systemd
from rep_edge.runtime.service.outlets import Outlets
from rep_edge.runtime.service.status import ServiceStatus
from rep_edge.runtime.service.view import ServiceView
from rep_edge.runtime.sinks.journal import JournalError
from rep_edge.runtime.sinks.sink import StatusSink

LOGGER = logging.getLogger("rep_edge.service")

PRUNE_S = 60.0
WRITE_S = 60.0
STATUS = "status.json"


class Upkeep:
    """upkeep.turn() about once a second, in the main thread."""

    def __init__(self, view: ServiceView, outlets: Outlets, state_dir: Path) -> None:
        self._view, self._outlets, self._path = view, outlets, state_dir / STATUS
        self._written_s = self._pruned_s = -float("inf")

    def turn(self) -> None:
        """Do what is due."""
        now_s, status = time.monotonic(), self._view.status()
        for sink in self._outlets.sinks:
            if isinstance(sink, StatusSink):
                sink.publish_status(status)
        if now_s - self._written_s >= WRITE_S:
            self._written_s = now_s
            self._write(status)
        if now_s - self._pruned_s >= PRUNE_S:
            self._pruned_s = now_s
            self._prune()

    def _write(self, status: ServiceStatus) -> None:
        systemd.status("; ".join(f"{node.name}: {node.pattern or 'no stream is live'}" for node in status.nodes))
        try:
            write_file(self._path, msgspec.json.encode(status))
        except InputError as error:
            LOGGER.warning("%s", error)

    def _prune(self) -> None:
        """Age and size of journal and clips, so that the disk never fills."""
        try:
            pruned = self._outlets.journal.prune(time.time())
        except JournalError as error:
            LOGGER.warning("old events stay: %s", error)
        else:
            if pruned.removed:
                LOGGER.info("%d old events removed", pruned.removed)
        if self._outlets.clips:
            self._outlets.clips.prune(time.time(), self._view.marks())
