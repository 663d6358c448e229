"""One class that is heard for a while: what is known of it, and the messages about it in order."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from rep_edge.runtime.events.event import Event, Phase
from rep_edge.runtime.prediction import Alternative, Prediction


class Heard(NamedTuple):
    """One class in one window: its smoothed probability, whether that reaches the threshold, and the window's start."""

    confidence: float
    above: bool
    start_s: float


class Track:
    """Times are on the common time line; a message turns them into s since 1970 by the offset of its moment.

    below: windows in a row in which the class was below its release; they belong to the track once it is back.
    told: messages so far, 0 while the track has not lasted long enough to be told of; told_s: time of the latest.
    """

    def __init__(self, node: str, label: str, heard: Sequence[Heard], prediction: Prediction) -> None:
        self.label = label
        self.start_s = heard[0].start_s
        self.peak = max(one.confidence for one in heard)
        self.id = ""
        self.below, self.told, self.told_s = 0, 0, 0.0
        self._node, self._windows = node, len(heard) - 1
        self._suspects: dict[str, str] = {}
        self._alternative: Alternative | None = None
        self.extend(prediction, heard[-1].confidence)

    def extend(self, prediction: Prediction, confidence: float) -> None:
        """One more window that belongs to it, and with it those below its release before."""
        self._windows += 1 + self.below
        self.below = 0
        self.confidence, self.peak = confidence, max(self.peak, confidence)
        self.end_s, self._pattern = prediction.end_s, prediction.pattern
        self._suspects, self._alternative = prediction.suspects, prediction.alternative

    def fall(self, confidence: float) -> None:
        """One more window in which it is below its release."""
        self.below += 1
        self.confidence = confidence

    @property
    def duration_s(self) -> float:
        """From the start of its first window to the end of the latest that belongs to it, in s."""
        return self.end_s - self.start_s

    def event(self, phase: Phase, now_s: float, wall_offset_s: float) -> Event:
        """The next message about it."""
        if not self.told:
            self.id = new_id(self._node, self.start_s + wall_offset_s)
        number = self.told
        self.told, self.told_s = number + 1, now_s
        return Event(
            id=f"{self.id}.{number}",
            track=self.id,
            node=self._node,
            phase=phase,
            label=self.label,
            confidence=self.confidence,
            peak=self.peak,
            start_s=self.start_s + wall_offset_s,
            end_s=self.end_s + wall_offset_s,
            pattern=self._pattern,
            windows=self._windows,
            suspects=self._suspects,
            alternative=self._alternative,
        )


def new_id(node: str, wall_s: float) -> str:
    """ "20260102T030405-yard-9f86d081": a file name, in the order of time, that no clock set back makes twice."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(wall_s))
    return f"{stamp}-{re.sub('[^A-Za-z0-9_-]', '_', node)[:64]}-{os.urandom(4).hex()}"
