"""Where a node's events and recordings go."""

from __future__ import annotations

from typing import NamedTuple

from rep_edge.runtime.events.clips import Clips
from rep_edge.runtime.sinks.delivery import Delivery
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sinks.sink import Sink


class Outlets(NamedTuple):
    """journal: makes events durable; clips: None where none are kept; sinks, deliveries: who is told, in one order."""

    journal: Journal
    clips: Clips | None = None
    sinks: tuple[Sink, ...] = ()
    deliveries: tuple[Delivery, ...] = ()

    def appended(self) -> None:
        """There are new events in the journal."""
        for delivery in self.deliveries:
            delivery.wake()
