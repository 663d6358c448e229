"""Chunks of several streams to one window a hop, with the health of every stream in it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.health import UNHEARD, HealthMachine, StreamHealth, Symptom, Transition
from rep_edge.runtime.streams import Cut, StreamBuffer, checked_chunk
from rep_edge.runtime.symptoms import Limits, examine
from rep_edge.signals import Stream, WindowSpec

EPSILON_S = 1e-6
"""Seconds; what times since 1970 lose in float64 is a quarter of it."""
MOST_TRANSITIONS = 256
"""Transitions that are kept for whoever takes them."""


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How streams are cut into windows. All times in s.

    hop_s: from window to window; None: the bundle's.
    lateness_s: how long a window waits for streams that lag behind the first one. Chunks that last longer need more.
    slack_s: jitter of time stamps that is not taken for a gap. bridge_s: a gap filled by a straight line.
    restart_s: a leap of a stream's time stamps by more than this, forward or back, is no gap: its clock was set.
    """

    hop_s: float | None = None
    lateness_s: float = 0.5
    slack_s: float = 0.02
    bridge_s: float = 0.04
    restart_s: float = 60.0

    def __post_init__(self) -> None:
        if self.hop_s is not None and not (math.isfinite(self.hop_s) and self.hop_s > 0):
            raise InputError(f"hop_s: must be above 0, not {self.hop_s}")
        for name in ("lateness_s", "slack_s", "bridge_s", "restart_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{name}: must be at least 0, not {getattr(self, name)}")


class LiveWindow(NamedTuple):
    """One hop. start_s, end_s: on the common time line.

    values: stream that is live or suspect -> float32 [channels, samples]. health: of every stream. reasons: stream that
    is neither -> why; suspects: stream that is suspect -> why.
    """

    start_s: float
    end_s: float
    values: dict[str, NDArray[np.float32]]
    health: dict[str, StreamHealth]
    reasons: dict[str, str]
    suspects: dict[str, str]


class StreamCounts(NamedTuple):
    """So far: gaps that tore a stream's windows, and small ones that were filled by a straight line."""

    gaps: int
    filled: int


class LiveWindows:
    """for window in windows.push("acoustic", chunk, start_s): ...

    A hop is decided as soon as every stream that is delivering has delivered it, or `lateness_s` after the first one
    has: a stream that stops costs one such wait and is not waited for again until it delivers anew. Time goes on with
    the stream that is furthest; where none delivers, `advance` moves it.

    A stream whose time stamps leap by more than `restart_s` is left out while the others go on; where none does and
    nobody advances the time, the time line begins anew with it. All memory is taken here, whatever comes later.

    limits: modality -> where its windows stop being healthy, of `limits_of`. health: stream -> its health in the latest
    window; levels: stream -> the RMS of that window, its mean taken off, in the modality's unit, None where samples
    were missing.
    """

    def __init__(
        self,
        spec: WindowSpec,
        limits: Mapping[str, Limits],
        settings: StreamSettings | None = None,
    ) -> None:
        self.settings = settings or StreamSettings()
        self.spec = spec
        self.hop_s = self.settings.hop_s or spec.hop_s
        history_s = self.settings.lateness_s + spec.window_s
        slack_s, bridge_s = self.settings.slack_s, self.settings.bridge_s
        self._streams = spec.streams
        self._buffers = {m.name: StreamBuffer(m, history_s, slack_s, bridge_s) for m in spec.streams}
        self._limits = limits
        self._seen_hz: dict[str, float | None] = dict.fromkeys(spec.names)
        self._transitions: deque[Transition] = deque(maxlen=MOST_TRANSITIONS)
        self.health = dict.fromkeys(spec.names, UNHEARD)
        self.levels: dict[str, float | None] = dict.fromkeys(spec.names)
        self._patience_s = history_s
        self._begin_time_line()

    @property
    def counts(self) -> dict[str, StreamCounts]:
        """Stream -> its counters."""
        return {name: StreamCounts(buffer.gaps, buffer.filled) for name, buffer in self._buffers.items()}

    def newest_s(self, name: str) -> float | None:
        """Time up to which samples of a stream have come, None before the first."""
        return self._buffers[name].end_s

    def take_transitions(self) -> list[Transition]:
        """Streams that went to another state since the last call, in order; the latest ones where they were many."""
        taken = list(self._transitions)
        self._transitions.clear()
        return taken

    def use(self, limits: Mapping[str, Limits]) -> None:
        """Judge windows by these limits from now on: another bundle saw other windows in training."""
        self._limits = limits

    def note_rate(self, name: str, seen_hz: float | None) -> None:
        """Samples of a stream that came each second lately, at the modality's rate; None where that is not known."""
        self._seen_hz[name] = seen_hz

    def push(self, name: str, chunk: NDArray[np.generic], start_s: float) -> list[LiveWindow]:
        """Samples [channels, n] or [n] of one stream from `start_s` on; the windows that they complete.

        Raises InputError for an unknown name, another shape or kind of numbers, or a time that is no number.
        """
        buffer = self._buffers.get(name)
        if buffer is None:
            raise InputError(f"{name}: is no modality of this bundle; it has {', '.join(self.spec.names)}")
        modality = buffer.modality
        values = checked_chunk(modality, chunk)
        if not math.isfinite(start_s):
            raise InputError(f"{name}: start_s must be a time in s, not {start_s}")
        made: list[LiveWindow] = []
        count = values.shape[1]
        if not count or self._is_astray(name, start_s, count / modality.rate_hz, made):
            return made
        # Long chunks in pieces, so that the ring need not hold more than a window ahead of the hop that is due.
        for at in range(0, count, modality.samples):
            piece = values[:, at : at + modality.samples]
            piece_s = start_s + at / modality.rate_hz
            self._reach(piece_s, made)
            buffer.push(piece, piece_s)
            if name in self._silent and _has_reached(buffer, self._now - self.settings.lateness_s):
                self._silent.discard(name)
            self._reach(piece_s + piece.shape[1] / modality.rate_hz, made)
        return made

    def advance(self, now_s: float) -> list[LiveWindow]:
        """Time has come to `now_s` though no samples did; the windows that have waited long enough."""
        if not math.isfinite(now_s):
            raise InputError(f"now_s must be a time in s, not {now_s}")
        made: list[LiveWindow] = []
        # Who tells the time is right against streams that are astray.
        self._astray_s.clear()
        self._reach(now_s, made)
        return made

    def _begin_time_line(self) -> None:
        for buffer in self._buffers.values():
            buffer.restart()
        self._machines = {name: HealthMachine(self._limits[name].settings, self.hop_s) for name in self.spec.names}
        self._silent: set[str] = set()
        self._apart_s: dict[str, float] = {}
        self._astray_s: dict[str, float] = {}
        self._now, self._first_end, self._hops = -math.inf, math.inf, 0

    def _is_astray(self, name: str, start_s: float, length_s: float, made: list[LiveWindow]) -> bool:
        """Whether the chunk is to be left out, since its time is not that of the other streams.

        A stream that alone has delivered for longer than any window waits is right, and the time line begins anew.
        """
        apart_s = start_s - self._now
        if self._now == -math.inf or -self.settings.restart_s - length_s <= apart_s <= self.settings.restart_s:
            if self._apart_s:
                self._apart_s.pop(name, None)
                self._astray_s.clear()
            return False
        self._apart_s[name] = apart_s
        self._astray_s[name] = self._astray_s.get(name, 0.0) + length_s
        if self._astray_s[name] < self._patience_s:
            return True
        self._reach(self._now + self.settings.lateness_s, made)
        self._begin_time_line()
        return False

    def _reach(self, time_s: float, made: list[LiveWindow]) -> None:
        """Cut every window that is complete, or late, now that time has come to `time_s`."""
        if time_s > self._now:
            if self._now == -math.inf:
                self._first_end = time_s + self.spec.window_s
            self._now = time_s
        while True:
            end_s = self._first_end + self._hops * self.hop_s
            if self._now < end_s - EPSILON_S:
                return
            if not self._has_waited(end_s):
                return
            self._hops += 1
            made.append(self._cut(end_s))

    def _has_waited(self, end_s: float) -> bool:
        """Whether nothing that may still come belongs to the window that ends at `end_s`."""
        oldest_s = self._now - self.settings.lateness_s
        if oldest_s >= end_s - EPSILON_S:
            self._silent.update(name for name, buffer in self._buffers.items() if not _has_reached(buffer, end_s))
            return True
        return all(name in self._silent or buffer.holds(oldest_s, end_s) for name, buffer in self._buffers.items())

    def _cut(self, end_s: float) -> LiveWindow:
        """The window that ends at `end_s`."""
        values = {}
        for modality in self._streams:
            name = modality.name
            cut = self._buffers[name].cut(end_s)
            health = self._machines[name].judge(self._symptom(modality, cut))
            if health.takes_part:
                values[name] = cut.values
            old = self.health[name].state
            if health.state != old:
                self._transitions.append(Transition(name, old, health.state, health.told, end_s))
            self.health[name] = health
        return LiveWindow(
            start_s=end_s - self.spec.window_s,
            end_s=end_s,
            values=values,
            health=dict(self.health),
            reasons={name: health.told for name, health in self.health.items() if not health.takes_part},
            suspects={name: health.told for name, health in self.health.items() if health.state == "suspect"},
        )

    def _symptom(self, modality: Stream, cut: Cut) -> Symptom | None:
        """What is wrong with a stream's window; its level is noted."""
        name = modality.name
        examined = examine(modality, cut, self._limits[name], self._seen_hz[name])
        self.levels[name] = examined.level
        apart_s = self._apart_s.get(name)
        if apart_s is not None and examined.symptom is not None and examined.symptom.hard:
            return Symptom("clock", f"its clock is {apart_s:+.0f} s apart", True)
        return examined.symptom


def _has_reached(buffer: StreamBuffer, end_s: float) -> bool:
    return buffer.end_s is not None and buffer.end_s >= end_s - EPSILON_S
