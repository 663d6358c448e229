"""A sensor's own clock to the common time line: offset and drift tracked, jitter left out, steps followed."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from rep_edge.runtime.arrivals import Arrivals
from rep_edge.runtime.envelope import Envelope, Line, Point
from rep_edge.runtime.sources.live import Chunk

SLEW = 5e-4
"""How fast the applied offset moves towards the line, beside the drift: 500 ppm."""
STEP_S = 0.25
"""A chunk so far from the line was not moved by a network: somebody set the clock, or the chunk waited."""
STEADY_S = 0.1
"""Late chunks whose lateness falls by more than this are a backlog."""
WENT_BACK_S = 1.0
"""Seconds for which a clock that went back must stay so before that is believed."""
STAYED_LATE_S = 60.0
"""The same where the time stamps went on, for then it may be a network that has become slow for a while."""


class ClockSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a sensor's time stamps are understood.

    delay_s: the least time that a sample takes from the sensor to here, in s. It cannot be seen from here; without it
    the stream lies that much late beside the others.
    """

    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delay_s) and self.delay_s >= 0):
            raise ValueError(f"delay_s: must be at least 0, not {self.delay_s}")


class _Late(NamedTuple):
    """Chunks that are late, one after the other.

    since_s: arrival of the first; excess_s: how late it was; least: the least late one; patience_s: after which the
    clock was set.
    """

    since_s: float
    excess_s: float
    least: Point
    patience_s: float


class StreamClock:
    """start_s = clock.place(chunk)

    A chunk arrives after its last sample was taken, so that the least difference between the two clocks is the nearest
    to the truth: a line through the least of every ten seconds of the last ten minutes gives offset and drift. The
    offset that is applied moves towards it so slowly that times stay smooth; delays and bursts never move it.

    A clock that was set forward is followed at once, for nothing arrives before it was taken; one that was set back
    when it has stayed so for a second.

    steps: how often the clock was set; last_step_s: by how much the last time, forward above 0.
    """

    def __init__(self, settings: ClockSettings | None = None) -> None:
        self._delay_s = (settings or ClockSettings()).delay_s
        self.steps, self.last_step_s = 0, 0.0
        self._arrivals, self._envelope = Arrivals(), Envelope()
        self._newest_s = self._arrived_s = -math.inf
        self._line, self._error_s = Line(0.0, 0.0, 0.0), 0.0
        self._fitted = self._drift_known = False
        self._late: _Late | None = None

    @property
    def offset_s(self) -> float | None:
        """What is added to the sensor's own time, in s; None before the first chunk."""
        return None if self._newest_s == -math.inf else self._offset(self._newest_s) - self._delay_s

    @property
    def drift_ppm(self) -> float | None:
        """How much faster than ours the sensor's clock runs; None before that can be told."""
        return -1e6 * self._line.drift if self._drift_known else None

    @property
    def last_arrival_s(self) -> float | None:
        """When the latest chunk came, `time.monotonic()`; None before the first."""
        return None if self._arrived_s == -math.inf else self._arrived_s

    @property
    def seen_hz(self) -> float | None:
        """Samples that come in a second, over the last half minute; None before there are enough."""
        return self._arrivals.rate_hz

    def place(self, chunk: Chunk) -> float:
        """When the first sample of a chunk was taken, on the common time line in s. Chunks are given as they arrive.

        One whose times are no numbers keeps its own.
        """
        samples = chunk.values.shape[1]
        end_s = chunk.start_s + samples / chunk.rate_hz
        if not math.isfinite(end_s + chunk.arrived_s):
            return chunk.start_s
        self._arrivals.count(chunk.start_s, samples, chunk.arrived_s)
        self._follow(Point(end_s, chunk.arrived_s - end_s), chunk)
        return chunk.start_s + self._offset(end_s) - self._delay_s

    def _follow(self, point: Point, chunk: Chunk) -> None:
        """Let one chunk have its say about the offset."""
        if self._newest_s == -math.inf:
            self._begin(point)
        excess_s = point.apart_s - self._offset(point.own_s)
        if excess_s > STEP_S:
            self._late = self._still_late(point, excess_s, chunk)
            if chunk.arrived_s - self._late.since_s >= self._late.patience_s:
                self._step(self._late.least)
        else:
            self._late = None
            if excess_s < 0 and not self._fitted and chunk.start_s - self._newest_s <= STEP_S:
                # The first chunks waited longer than this one, which follows on to them: nobody set the clock.
                self._lower(point, excess_s)
            elif excess_s < -STEP_S:
                self._step(point)
            self._learn(point, chunk.arrived_s)
        self._newest_s, self._arrived_s = max(self._newest_s, point.own_s), max(self._arrived_s, chunk.arrived_s)

    def _offset(self, own_s: float) -> float:
        return self._line.at(own_s) + self._error_s

    def _begin(self, point: Point) -> None:
        """Go on from one difference of the clocks. The drift stays: it is the crystal's."""
        self._line, self._error_s = Line(point.own_s, point.apart_s, self._line.drift), 0.0
        self._newest_s = point.own_s
        self._envelope.clear()
        self._fitted, self._late = False, None

    def _step(self, point: Point) -> None:
        self.steps += 1
        self.last_step_s = self._offset(self._newest_s) - point.apart_s
        self._begin(point)

    def _lower(self, point: Point, excess_s: float) -> None:
        if excess_s < -STEP_S:
            self._begin(point)
        else:
            self._error_s += excess_s

    def _still_late(self, point: Point, excess_s: float, chunk: Chunk) -> _Late:
        """The late chunks with this one; only this one where they catch up."""
        late = self._late
        if late is None:
            went_back = chunk.start_s < self._newest_s - STEP_S
            return _Late(chunk.arrived_s, excess_s, point, WENT_BACK_S if went_back else STAYED_LATE_S)
        if excess_s < late.excess_s - STEADY_S:
            return late._replace(since_s=chunk.arrived_s, excess_s=excess_s, least=point)
        return late._replace(least=point) if point.apart_s < late.least.apart_s else late

    def _learn(self, point: Point, arrived_s: float) -> None:
        """Slew, then let the line pass through what arrived."""
        way_s = min(arrived_s - self._arrived_s, point.own_s - self._newest_s)
        if way_s > 0 and self._fitted:
            most_s = SLEW * way_s
            self._error_s -= max(-most_s, min(most_s, self._error_s))
        line = self._envelope.add(point, arrived_s)
        if line is not None:
            # What is applied stays where it is, and slews from there.
            self._error_s += self._line.at(point.own_s) - line.at(point.own_s)
            self._line = line
            self._fitted = self._drift_known = True
