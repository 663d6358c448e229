"""The one thread that turns what sensors delivered into events: all nodes, one classifier, windows together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rep_edge.errors import InputError
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.health import Transition
from rep_edge.runtime.notices import Notices
from rep_edge.runtime.predicting import predict
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.node import DueClip, Node
from rep_edge.runtime.service.outlets import Outlets
from rep_edge.runtime.service.reopening import Reopening
from rep_edge.runtime.service.reporting import node_status
from rep_edge.runtime.service.status import NodeStatus
from rep_edge.runtime.sinks.journal import JournalError
from rep_edge.runtime.sources.feed import Feed, take_all

LOGGER = logging.getLogger("rep_edge.loop")

TURN_S = 0.05
"""Pause between two turns, in s. A turn for each chunk would cost more than its work where there are many nodes."""

REPORT_S = 0.5
"""Seconds between two reports of the nodes' state."""

BACKLOG = 1000
"""Events that wait for a disk that takes them; the oldest go, and are counted."""


class Member(NamedTuple):
    """A node and the sensors that feed it: stream -> feed."""

    node: Node
    feeds: Mapping[str, Feed]


class Loop:
    """loop.turn(now_s, wall_offset_s) for ever, in one thread.

    An event is acknowledged once the journal has it on disk; until then it waits in a backlog, in order, and is tried
    again. progressed: called after each turn that answered windows; it feeds the watchdog.

    report: the nodes as they are, replaced as a whole; lost: events that neither disk nor backlog took; failed: what
    ended the loop, which nothing should.
    """

    def __init__(
        self,
        members: Sequence[Member],
        classifier: Classifier,
        outlets: Outlets,
        durations: Durations,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self.members, self.classifier, self.lost = members, classifier, 0
        self._outlets, self._durations, self._progressed = outlets, durations, progressed
        self._backlog: deque[Event] = deque()
        self._notices = Notices(LOGGER)
        self._reopening = {(node.name, stream): Reopening() for node, feeds in members for stream in feeds}
        self.report: tuple[NodeStatus, ...] = ()
        self._reported_s = -REPORT_S
        self._lock = threading.Lock()
        self._next: Classifier | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failed: Exception | None = None
        self._swapped = threading.Event()

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer what came, end all tracks, and stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(TURN_S):
                self.turn(time.monotonic(), _wall_offset_s())
            self.finish(time.monotonic(), _wall_offset_s())
        except Exception as error:
            LOGGER.exception("the loop ended")
            self.failed = error

    def turn(self, now_s: float, wall_offset_s: float) -> None:
        """Take what came, answer the windows that are due, write the events."""
        self._take_over(wall_offset_s)
        for node, feeds in self.members:
            for stream, chunk in take_all(feeds):
                node.receive(stream, chunk)
            node.advance(now_s)
        self._answer(wall_offset_s)
        for member in self.members:
            self._look_after(member, now_s)
            for clip in member.node.take_clips(now_s, wall_offset_s):
                self._record(clip)
        self._write()
        if now_s - self._reported_s >= REPORT_S:
            self._reported_s = now_s
            self.report = tuple(node_status(*member, now_s, wall_offset_s) for member in self.members)

    def finish(self, now_s: float, wall_offset_s: float) -> None:
        """End all tracks: the service stops."""
        for node, _ in self.members:
            self._backlog.extend(node.end_tracks(wall_offset_s))
            for clip in node.take_clips(now_s, wall_offset_s, at_once=True):
                self._record(clip)
        self._write()

    def swap(self, classifier: Classifier, timeout_s: float) -> bool:
        """From another thread: answer with this classifier from the next window on; whether that has begun.

        The one before it is closed.
        """
        self._swapped.clear()
        with self._lock:
            self._next = classifier
        if self._swapped.wait(timeout_s):
            return True
        with self._lock:
            taken = self._next is not classifier
            self._next = None
        return taken

    def _take_over(self, wall_offset_s: float) -> None:
        """Go on with the classifier that waits, if one does."""
        with self._lock:
            if self._next is None:
                return
            before, self.classifier, self._next = self.classifier, self._next, None
        for node, _ in self.members:
            self._backlog.extend(node.adopt(self.classifier.bundle.manifest, wall_offset_s))
        self._swapped.set()
        try:
            before.close()
        except InputError as error:
            LOGGER.warning("the bundle before this one did not close: %s", error)

    def _answer(self, wall_offset_s: float) -> None:
        """Answer all windows that are due, those of all nodes together."""
        due = [(node, window) for node, _ in self.members for window in node.take_due()]
        if not due:
            return
        answers = predict(self.classifier, [window for _, window in due])
        for (node, _), prediction in zip(due, answers, strict=True):
            if prediction.pattern:
                self._durations.observe(prediction.pattern, self.classifier.backend, prediction.latency_s)
            self._backlog.extend(node.finish(prediction, wall_offset_s))
        self._progressed()

    def _look_after(self, member: Member, now_s: float) -> None:
        """Tell what changed about the streams, and have those opened again that are not believed."""
        for change in member.node.take_transitions():
            self._tell(member.node.name, change)
        for stream, feed in member.feeds.items():
            health = member.node.windows.health[stream]
            reopening = self._reopening[member.node.name, stream]
            if feed.connection == "connected" and reopening.due(health.takes_part, now_s):
                feed.reconnect(health.told)

    def _tell(self, node: str, change: Transition) -> None:
        level = logging.INFO if change.new == "live" else logging.WARNING
        line = f"{node}: {change.name} is {change.new}" + (f": {change.told}" if change.told else "")
        self._notices.tell(f"{node}/{change.name}/{change.new}", line, level)

    def _record(self, clip: DueClip) -> None:
        if self._outlets.clips is not None:
            self._outlets.clips.record(clip.event, clip.waveforms, clip.start_s)

    def _write(self) -> None:
        """Have the events that wait written to the disk, in order; what it does not take waits for the next turn."""
        wrote = False
        while self._backlog:
            try:
                self._outlets.journal.append(self._backlog[0])
            except JournalError as error:
                self._notices.tell("journal", f"events wait, the journal does not take them: {error}", logging.ERROR)
                break
            self._backlog.popleft()
            wrote = True
        while len(self._backlog) > BACKLOG:
            self._backlog.popleft()
            self.lost += 1
        if wrote:
            self._outlets.appended()


def _wall_offset_s() -> float:
    """What makes a time on the common line one since 1970, by the clock of the wall as it is now."""
    return time.time() - time.monotonic()
