"""One sensor node: chunks in, windows that are due out; answers in, events out. No threads and no clock of its own."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.clocks import ClockSettings, StreamClock
from rep_edge.runtime.events.event import Event, Verdict
from rep_edge.runtime.events.ring import Ring
from rep_edge.runtime.events.track_settings import TrackSettings
from rep_edge.runtime.events.tracking import Tracker
from rep_edge.runtime.health import Transition
from rep_edge.runtime.manifest import Manifest
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.symptoms import Limits, limits_of
from rep_edge.runtime.windows import LiveWindow, LiveWindows, StreamSettings
from rep_edge.signals import WindowSpec

VERDICTS = 200
"""Verdicts that are kept for people to look at."""

SHOWN_S = 12.0
"""Seconds of waveform that are kept for people to look at."""


class ClipSpan(NamedTuple):
    """What is recorded of a track: seconds before its onset and after its end, and at most."""

    before_s: float
    after_s: float
    longest_s: float


class NodeSettings(NamedTuple):
    """What a node is told.

    limits: modality -> where its windows stop being healthy; delays_s: modality -> how much later than the others its
    samples arrive, in s; clip: None for no recordings.
    """

    timing: StreamSettings
    limits: Mapping[str, Limits]
    tracks: TrackSettings
    delays_s: Mapping[str, float]
    clip: ClipSpan | None


class DueClip(NamedTuple):
    """The recording of a track: modality -> [channels, n], NaN where nothing came; start_s: in s since 1970."""

    event: Event
    waveforms: dict[str, NDArray[np.float32]]
    start_s: float


class Node:
    """node.receive("acoustic", chunk); for window in node.take_due(): events = node.finish(window, answer, offset_s)

    All times but those of events are on the common line, `time.monotonic()` in s; `wall_offset_s` is what makes them s
    since 1970. The time line begins with the first `advance`: from then on every hop is due, whatever comes.
    """

    def __init__(self, name: str, spec: WindowSpec, labels: Sequence[str], settings: NodeSettings) -> None:
        self.name, self.spec, self.labels, self.settings = name, spec, tuple(labels), settings
        self.windows = LiveWindows(spec, settings.limits, settings.timing)
        self.clocks = {
            m.name: StreamClock(ClockSettings(delay_s=settings.delays_s.get(m.name, 0.0))) for m in spec.streams
        }
        self.rings = {m.name: Ring(m, _kept_s(spec, settings)) for m in spec.streams}
        self.tracker = Tracker(name, labels, settings.tracks)
        self.verdicts: deque[Verdict] = deque(maxlen=VERDICTS)
        self.counts = NodeCounts()
        self.latest: Prediction | None = None
        self._due: list[LiveWindow] = []
        self._clips: list[Event] = []

    def receive(self, stream: str, chunk: Chunk) -> None:
        """Samples of one stream at the modality's rate, float32 [channels, n], in the order in which they arrived."""
        clock = self.clocks[stream]
        start_s = clock.place(chunk)
        self.windows.note_rate(stream, clock.seen_hz)
        self.rings[stream].push(chunk.values, start_s)
        self._due += self.windows.push(stream, chunk.values, start_s)

    def advance(self, now_s: float) -> None:
        """Time has come to `now_s`, whether samples did or not."""
        self._due += self.windows.advance(now_s)

    def take_due(self) -> list[LiveWindow]:
        """Windows that wait for their answer, each once, in the order of time."""
        due, self._due = self._due, []
        return due

    def take_transitions(self) -> list[Transition]:
        """Streams that were lost, came back or became suspect since the last call."""
        return self.windows.take_transitions()

    def finish(self, prediction: Prediction, wall_offset_s: float) -> list[Event]:
        """Take over the answer to the oldest window that was due; the events that it makes."""
        step = self.tracker.step(prediction, wall_offset_s)
        self.verdicts.append(step.verdict)
        self.counts.add(prediction, self.latest, step.events)
        self.latest = prediction
        return self._with_clips(step.events)

    def adopt(self, manifest: Manifest, wall_offset_s: float) -> list[Event]:
        """From now on the answers are those of another bundle with the same windows.

        Where its classes are others, tracks that go on are ended, and their events returned.
        """
        seen = {name: limits_of(manifest, limits.settings)[name] for name, limits in self.settings.limits.items()}
        self.windows.use(seen)
        if manifest.labels == self.labels:
            return []
        events = self.end_tracks(wall_offset_s)
        self.labels = manifest.labels
        self.tracker = Tracker(self.name, self.labels, self.settings.tracks)
        return events

    def end_tracks(self, wall_offset_s: float) -> list[Event]:
        """End all tracks that go on: the service stops. What they give is recorded as far as it was heard."""
        return self._with_clips(self.tracker.finish(wall_offset_s))

    def take_clips(self, now_s: float, wall_offset_s: float, *, at_once: bool = False) -> list[DueClip]:
        """Recordings whose last seconds have come, or all that wait with `at_once`."""
        span = self.settings.clip
        if span is None:
            return []
        late_s = self.settings.timing.lateness_s
        due: list[Event] = []
        waiting: list[Event] = []
        for event in self._clips:
            ready = event.end_s - wall_offset_s + span.after_s + late_s <= now_s
            (due if ready or at_once else waiting).append(event)
        self._clips = waiting
        return [self._cut(event, span, wall_offset_s) for event in due]

    def _with_clips(self, events: Sequence[Event]) -> list[Event]:
        """The events; those that end a track name the recording that there will be."""
        if self.settings.clip is None:
            return list(events)
        named = [msgspec.structs.replace(e, clip=e.track) if e.phase == "end" else e for e in events]
        self._clips += [event for event in named if event.clip]
        return named

    def _cut(self, event: Event, span: ClipSpan, wall_offset_s: float) -> DueClip:
        """What the rings still hold of a track; of one longer than `longest_s` its last part."""
        stop_s = event.end_s + span.after_s
        start_s = max(event.start_s - span.before_s, stop_s - span.before_s - span.longest_s - span.after_s)
        waveforms = {
            name: ring.cut(start_s - wall_offset_s, stop_s - wall_offset_s) for name, ring in self.rings.items()
        }
        return DueClip(event, waveforms, start_s)


def _kept_s(spec: WindowSpec, settings: NodeSettings) -> float:
    """Seconds of waveform that a ring holds: what is shown, and a whole clip when its track's end is told."""
    if settings.clip is None:
        return SHOWN_S
    told_s = settings.tracks.hold_s + settings.tracks.end_windows * spec.hop_s + settings.timing.lateness_s
    return SHOWN_S + sum(settings.clip) + told_s


class NodeCounts:
    """Counters of a node since the service started, as `NodeStatus` has them."""

    def __init__(self) -> None:
        self.windows = self.without = self.switches = 0
        self.patterns: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def add(self, prediction: Prediction, before: Prediction | None, events: Sequence[Event]) -> None:
        """One more hop, and the events that it made."""
        self.windows += 1
        self.without += not prediction.pattern
        self.patterns[prediction.pattern] += 1
        self.switches += before is not None and before.pattern != prediction.pattern
        self.events.update(event.label for event in events if event.phase == "onset")
