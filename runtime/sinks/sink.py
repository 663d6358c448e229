"""What every sink is to the rest: something that takes events and says when it has them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.service.status import ServiceStatus

LOGGER = logging.getLogger("rep_edge.sinks")


class SinkError(Exception):
    """The receiver does not have the events: one line that says why. They are delivered again."""


class RefusedError(SinkError):
    """The receiver has said no to what it was sent, not to who sent it: it will hardly take it another time."""


class Sink(Protocol):
    """Where events go. One thread delivers; another one may close.

    name: unique among the sinks and the same after a restart, for the journal remembers by it what was delivered.
    most_s: longest pause between two tries in s.
    """

    name: str
    most_s: float

    def deliver(self, events: Sequence[Event]) -> None:
        """Returns once the receiver has all of them, in this order.

        Raises SinkError where it has not, or not all; RefusedError where it does not want them. After that it may be
        given some of them twice, and tells them by their id.
        """

    def close(self) -> None:
        """Give everything back. A delivery that goes on in the other thread ends soon, with SinkError."""


@runtime_checkable
class StatusSink(Protocol):
    """A sink that also shows how the service is."""

    def publish_status(self, status: ServiceStatus) -> None:
        """Called every second or so; never waits, never raises."""
