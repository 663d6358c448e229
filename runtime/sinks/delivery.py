"""A thread for each sink: what the journal holds goes to the receiver, in order, until the receiver has it."""

from __future__ import annotations

import threading

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.notices import Notices
from rep_edge.runtime.service.status import SinkStatus
from rep_edge.runtime.sinks.journal import Journal, JournalError
from rep_edge.runtime.sinks.sink import LOGGER, RefusedError, Sink, SinkError

BATCH = 50
"""Events that are delivered together."""

FIRST_S = 1.0
"""Pause before the second try in s; it doubles from try to try, up to what the sink says."""

MOST_REFUSALS = 5
"""After so many refusals of one event alone it is given up, so that those behind it can go."""


class Delivery:
    """Delivers to one sink from now on; `wake` tells it that the journal has more, `close` ends it.

    At least once and in order: the journal's cursor moves when the receiver has the events; where that cannot be
    written down before a crash, they are delivered again. A receiver that is away is tried again after pauses that
    grow from `first_s` to the sink's `most_s`. A batch that the receiver refuses is delivered one by one; an event that
    it refuses five times alone is logged, counted as lost and left behind.
    """

    def __init__(self, journal: Journal, sink: Sink, first_s: float = FIRST_S) -> None:
        self._journal, self._sink, self._first_s = journal, sink, first_s
        self._notices = Notices(LOGGER)
        self._news, self._closing, self._is_over = threading.Event(), threading.Event(), False
        self._state, self._pause_s, self._delivered = "delivering", 0.0, 0
        self._singly, self._refusals = 0, 0
        journal.register(sink.name)
        self._thread = threading.Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """The journal has something new."""
        self._news.set()

    def status(self) -> SinkStatus:
        """How it stands; never waits."""
        name = self._sink.name
        return SinkStatus(
            name=name,
            state=self._state,
            behind=self._journal.behind(name),
            delivered=self._delivered,
            lost=self._journal.lost(name),
        )

    def close(self, drain_s: float) -> None:
        """Deliver what is left if the receiver takes it within `drain_s`, then close the sink."""
        self._closing.set()
        self._news.set()
        self._thread.join(drain_s)
        self._is_over = True
        self._sink.close()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._is_over:
            self._news.clear()
            goes_on = self._step()
            if self._closing.is_set():
                if not goes_on:
                    return
            elif self._pause_s:
                self._closing.wait(self._pause_s)
            elif not goes_on:
                self._news.wait()

    def _step(self) -> bool:
        """Deliver what is next; whether there may be more that can be delivered at once."""
        try:
            waiting = self._journal.after(self._journal.cursor(self._sink.name), BATCH)
            if not waiting:
                self._recover()
                return False
            batch = waiting[:1] if self._singly else waiting
            try:
                self._sink.deliver([event for _, event in batch])
            except RefusedError as error:
                return self._take_no(batch, error)
            self._recover()
            self._delivered += len(batch)
            self._go_past(batch)
        except (SinkError, JournalError) as error:
            self._wait(str(error))
            return False
        except Exception as error:
            self._wait(f"{type(error).__name__}: {error}")
            return False
        return True

    def _take_no(self, batch: list[tuple[int, Event]], error: RefusedError) -> bool:
        """The receiver refused: find out which event it is, and give that one up after a while."""
        if len(batch) > 1:
            self._singly = len(batch)
            return True
        self._refusals += 1
        self._wait(str(error))
        if self._refusals == MOST_REFUSALS:
            LOGGER.error("%s: event %s is given up: %s", self._sink.name, batch[0][1].id, error)
            self._go_past(batch, lost=1)
        return False

    def _go_past(self, batch: list[tuple[int, Event]], lost: int = 0) -> None:
        self._singly, self._refusals = max(0, self._singly - 1), 0
        self._journal.advance(self._sink.name, batch[-1][0], lost)

    def _wait(self, why: str) -> None:
        self._pause_s = min(max(self._first_s, 2 * self._pause_s), self._sink.most_s)
        self._state = f"waiting {self._pause_s:.2g} s: {why}"
        self._notices.tell("waiting", f"{self._sink.name}: events wait: {why}")

    def _recover(self) -> None:
        if self._pause_s:
            LOGGER.info("%s: delivers again", self._sink.name)
        self._state, self._pause_s = "delivering", 0.0
