"""Predictions to events: smoothing, onset and release with hysteresis, and a word on every window."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from rep_edge.runtime.events.event import Event, Verdict
from rep_edge.runtime.events.track import Heard, Track
from rep_edge.runtime.events.track_settings import TrackSettings
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.service.status import TrackStatus
from rep_edge.runtime.windows import EPSILON_S


class Step(NamedTuple):
    """What one hop gave: messages in the order in which they are told, and what became of the hop."""

    events: list[Event]
    verdict: Verdict


class _Word(NamedTuple):
    """What one hop does to one class, in words, and the message that it gives."""

    why: str
    event: Event | None = None


class Tracker:
    """events, verdict = tracker.step(prediction, wall_offset_s)

    Every class but the ignored ones is judged by its own smoothed probability and has at most one track at a time; with
    thresholds above one half two classes overlap only while one of them fades. Smoothing goes on across patterns, the
    threshold is that of the pattern of the moment. Probabilities p are smoothed as s = p + exp(-1 / w) (s - p), w being
    `smoothing_windows`; the first window after a pause counts as it is.
    """

    def __init__(self, node: str, labels: Sequence[str], settings: TrackSettings) -> None:
        self._node, self._labels, self._settings = node, tuple(labels), settings
        w = settings.smoothing_windows
        self._keep = math.exp(-1 / w) if w > 0 else 0.0
        self._tracks: dict[str, Track] = {}
        self._wall_offset_s, self._live_s = 0.0, math.inf
        self._begin_anew()

    def step(self, prediction: Prediction, wall_offset_s: float) -> Step:
        """One hop. Times of the prediction are on the common line; s since 1970 are those plus `wall_offset_s`."""
        self._wall_offset_s = wall_offset_s
        live = prediction.label is not None
        words: list[_Word] = []
        since_s = (prediction.start_s if live else prediction.end_s) - self._live_s
        if since_s > self._settings.hold_s + EPSILON_S:
            words = [self._ended(track, f", no stream was live for {since_s:.1f} s") for track in self._every_track()]
            self._begin_anew()
        if not live:
            reasons = ", ".join(f"{name} {reason}" for name, reason in prediction.reasons.items())
            words.insert(0, _Word(f"no stream is live: {reasons}" if reasons else "no stream is live"))
            words += [_Word(f"{label} is held") for label in self._tracks]
            return self._step(prediction, None, words)
        self._live_s = prediction.end_s
        self._smooth(prediction)
        top = max(self._labels, key=lambda label: self._smoothed[label])
        for label in sorted(self._labels, key=lambda label: label != top):
            running = label in self._tracks
            word = self._judge(label, prediction)
            if label == top or running or label in self._tracks:
                words.append(word)
        return self._step(prediction, top, words)

    def finish(self, wall_offset_s: float) -> list[Event]:
        """End every track: no further hop will come."""
        self._wall_offset_s = wall_offset_s
        words = [self._ended(track, "") for track in self._every_track()]
        self._begin_anew()
        return [word.event for word in words if word.event]

    def running(self) -> tuple[TrackStatus, ...]:
        """The tracks that have been told of and have not ended."""
        return tuple(
            TrackStatus(
                track=track.id,
                label=track.label,
                confidence=track.confidence,
                start_s=track.start_s + self._wall_offset_s,
            )
            for track in self._every_track()
            if track.told
        )

    def _every_track(self) -> list[Track]:
        return list(self._tracks.values())

    def _begin_anew(self) -> None:
        self._live_s = math.inf
        self._smoothed: dict[str, float] = {}
        self._votes = {
            label: deque[Heard](maxlen=self._settings.onset_of)
            for label in self._labels
            if label not in self._settings.ignore
        }

    def _smooth(self, prediction: Prediction) -> None:
        for label in self._labels:
            p = prediction.probabilities[label]
            self._smoothed[label] = p + self._keep * (self._smoothed.get(label, p) - p)

    def _step(self, prediction: Prediction, top: str | None, words: Sequence[_Word]) -> Step:
        events = [word.event for word in words if word.event]
        verdict = Verdict(
            node=self._node,
            end_s=prediction.end_s + self._wall_offset_s,
            label=top,
            confidence=0.0 if top is None else self._smoothed[top],
            event=events[0].id if events else "",
            why="; ".join(word.why for word in words),
        )
        return Step(events, verdict)

    def _judge(self, label: str, prediction: Prediction) -> _Word:
        """What this window means for one class."""
        if label in self._settings.ignore:
            return _Word(f"{label} gives no events")
        threshold = self._settings.threshold_of(label, prediction.pattern)
        if label in self._tracks:
            return self._follow(self._tracks[label], threshold, prediction)
        return self._await_onset(label, threshold, prediction)

    def _await_onset(self, label: str, threshold: float, prediction: Prediction) -> _Word:
        confidence, votes = self._smoothed[label], self._votes[label]
        votes.append(Heard(confidence, confidence >= threshold, prediction.start_s))
        count, wanted = sum(heard.above for heard in votes), self._settings.onset_windows
        if count < wanted:
            if votes[-1].above:
                return _Word(f"{label} in {count} of {wanted} windows")
            return _Word(f"{label} {_cut(confidence)} is below {threshold:.2f} ({prediction.pattern})")
        quiet = self._settings.quiet(label, prediction.end_s + self._wall_offset_s)
        if quiet:
            return _Word(f"{label} {_cut(confidence)} in quiet hours {quiet}")
        first = next(place for place, heard in enumerate(votes) if heard.above)
        track = self._tracks[label] = Track(self._node, label, list(votes)[first:], prediction)
        return self._told(track, prediction)

    def _follow(self, track: Track, threshold: float, prediction: Prediction) -> _Word:
        confidence = self._smoothed[track.label]
        release, most = threshold - self._settings.release_margin, self._settings.end_windows
        if confidence >= release:
            track.extend(prediction, confidence)
            return self._told(track, prediction)
        track.fall(confidence)
        if track.below >= most:
            return self._ended(track, f", {_cut(confidence)} is below {release:.2f} ({prediction.pattern})")
        word = self._told(track, prediction)
        return word._replace(why=f"{word.why}, though below {release:.2f} in {track.below} of {most} windows")

    def _told(self, track: Track, prediction: Prediction) -> _Word:
        """A track that goes on, and the message about it where one is due."""
        now_s, least_s = prediction.end_s, self._settings.min_duration_s
        if not track.told:
            if track.duration_s < least_s - EPSILON_S:
                return _Word(f"{track.label} for {track.duration_s:.1f} s of at least {least_s:.1f} s")
            return _Word(f"{track.label} onset", track.event("onset", now_s, self._wall_offset_s))
        if now_s - track.told_s < self._settings.update_every_s - EPSILON_S:
            return _Word(f"{track.label} goes on")
        return _Word(f"{track.label} goes on", track.event("update", now_s, self._wall_offset_s))

    def _ended(self, track: Track, why: str) -> _Word:
        """The end of a track, told where its onset was."""
        del self._tracks[track.label]
        self._votes[track.label].clear()
        if not track.told:
            least_s = self._settings.min_duration_s
            return _Word(f"{track.label} ended after {track.duration_s:.1f} s, it takes {least_s:.1f} s{why}")
        event = track.event("end", track.end_s, self._wall_offset_s)
        return _Word(f"{track.label} ended after {track.duration_s:.1f} s{why}", event)


def _cut(probability: float) -> str:
    """Two places, not rounded: 0.599 must not read as 0.60."""
    return f"{math.floor(probability * 100) / 100:.2f}"
