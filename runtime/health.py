"""Whether a stream is believed: states, what leads from one to the next, and the settings of both."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from rep_edge.errors import InputError

StreamState: TypeAlias = Literal["live", "suspect", "lost", "recovering"]
"""live and suspect streams take part in a window, lost and recovering ones do not."""

Reason: TypeAlias = Literal[
    "",
    "no_samples",
    "gap",
    "not_finite",
    "too_large",
    "flat",
    "stuck",
    "clipped",
    "clock",
    "rate",
    "dc_drift",
    "noise_low",
    "noise_high",
    "flapping",
]
"""Why a stream is not live, as a fixed name for counters."""

FLAPPING_LOSSES = 4
"""Losses after which a stream comes and goes too often, where they lie within FLAPPING_S or FLAPPING_WINDOWS."""
FLAPPING_S = 60.0
FLAPPING_WINDOWS = 30
MOST_READMIT = 32
"""Healthy windows in a row that a stream must show at most, however often it came and went."""


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a window stops being healthy, for every stream. None: what the bundle saw in training says, else a default.

    stuck_s: longest run of one value, in s (default 0.5).
    clipped: largest share, 0 to 1, of samples that lie at the window's lowest or at its highest value, where that value
    is also twice as frequent as any between: a coarse converter's values are most frequent in the middle (default 0.1).
    largest: largest magnitude of a sample, in the modality's unit; no sensor delivers more (default 1e12).
    margin: how far beyond what training saw a stream may go before it is suspect: its noise floor by this factor up or
    down (4 is 12 dB), its mean by so many times the spread of the means or the highest noise floor.
    rate: share by which the samples that come each second may differ from the rate before the stream is suspect.
    suspect_after, clear_after: windows in a row after which a stream is suspect, and no more.
    readmit: healthy windows in a row after which a stream that was lost counts again.
    """

    stuck_s: float | None = None
    clipped: float | None = None
    largest: float | None = None
    margin: float = 4.0
    rate: float = 0.02
    suspect_after: int = 3
    clear_after: int = 3
    readmit: int = 2

    def __post_init__(self) -> None:
        for name in ("stuck_s", "clipped", "largest", "rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}: must be above 0, not {value}")
        if not (math.isfinite(self.margin) and self.margin >= 1):
            raise InputError(f"margin: must be at least 1, not {self.margin}")
        for name in ("suspect_after", "clear_after", "readmit"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: must be at least 1 window, not {getattr(self, name)}")


class Symptom(NamedTuple):
    """What is wrong with one window. hard: it cannot be used; else it can, and is strange. told: in words."""

    reason: Reason
    told: str
    hard: bool


class StreamHealth(msgspec.Struct, frozen=True):
    """A stream in one window. reason: its name, "" while it is live; told: the same in words, with figures.

    A stream that recovers keeps the reason that it was lost for.
    """

    state: StreamState
    reason: Reason = ""
    told: str = ""

    @property
    def takes_part(self) -> bool:
        """Whether the window's samples of this stream are classified."""
        return self.state in ("live", "suspect")


class Transition(NamedTuple):
    """A stream that went from one state to another with the window that ends at end_s; told: why, "" for live."""

    name: str
    old: StreamState
    new: StreamState
    told: str
    end_s: float


UNHEARD = StreamHealth("lost", "no_samples", "no samples yet")
"""A stream before its first window."""


class HealthMachine:
    """One stream's way through its states, a window at a time.

    A hard symptom loses the stream at once; it is live again after `readmit` windows without one. A stream that comes
    and goes too often has to show twice as many each time, and starts afresh once it has stayed for a while. Soft
    symptoms make a live stream suspect, and clean windows clear it, both with hysteresis. A stream that begins is
    believed with its first usable window.
    """

    def __init__(self, limits: HealthLimits, hop_s: float) -> None:
        self._limits = limits
        self._while = max(FLAPPING_WINDOWS, math.ceil(FLAPPING_S / hop_s))
        self._losses: deque[int] = deque(maxlen=FLAPPING_LOSSES)
        self._readmit = limits.readmit
        self._window = self._usable = self._stayed = self._odd = self._clean = 0
        self._cause: Symptom | None = None
        self._begun = False
        self.health = UNHEARD

    def judge(self, symptom: Symptom | None) -> StreamHealth:
        """The stream's health in the next window, in which `symptom` was found, or None."""
        self._window += 1
        if symptom is not None and symptom.hard:
            self.health = self._lose(symptom)
        else:
            self._count(symptom)
            self.health = self._keep(symptom) if self.health.takes_part or self._is_back() else self._wait()
        return self.health

    def _lose(self, symptom: Symptom) -> StreamHealth:
        if self.health.takes_part:
            self._losses.append(self._window)
            if self._flaps():
                self._readmit = min(2 * self._readmit, max(MOST_READMIT, self._limits.readmit))
        self._cause = symptom
        self._usable = self._stayed = self._odd = self._clean = 0
        return StreamHealth("lost", symptom.reason, symptom.told)

    def _count(self, symptom: Symptom | None) -> None:
        self._usable += 1
        self._odd, self._clean = (0, self._clean + 1) if symptom is None else (self._odd + 1, 0)

    def _is_back(self) -> bool:
        return not self._begun or self._usable >= self._readmit

    def _wait(self) -> StreamHealth:
        assert self._cause is not None
        told = f"back, healthy for {self._usable} of {self._readmit} windows"
        if self._readmit > self._limits.readmit:
            return StreamHealth("recovering", "flapping", f"{told}, for it came and went")
        return StreamHealth("recovering", self._cause.reason, told)

    def _keep(self, symptom: Symptom | None) -> StreamHealth:
        """Live or suspect, now that the stream takes part."""
        self._begun = True
        self._stayed += 1
        if self._stayed >= self._while:
            self._readmit = self._limits.readmit
        if symptom is not None and (self.health.state == "suspect" or self._odd >= self._limits.suspect_after):
            return StreamHealth("suspect", symptom.reason, symptom.told)
        if self.health.state == "suspect" and self._clean < self._limits.clear_after:
            return self.health
        return StreamHealth("live")

    def _flaps(self) -> bool:
        return len(self._losses) == FLAPPING_LOSSES and self._window - self._losses[0] <= self._while
