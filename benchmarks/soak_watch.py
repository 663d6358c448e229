"""What the soak looks at while it runs: hops that are missing, and how soon faults are noticed and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from soak_sensors import CLEAR_S

from rep_edge.runtime.faults.fault import Fault
from rep_edge.runtime.prediction import Prediction

HARD = {"dropout", "nan", "stuck"}
"""Faults after which a window that holds a part of one cannot be believed: its stream must be left out."""
LEAST_S = 1.5
"""Faults that are shorter may end before they can be told: stuck for half a second is still healthy."""
SLACK_S = 0.1
"""What the time line may be wrong by: a window this near to a fault may hold a sample of it."""
PATIENCE_HOPS = 40
"""A stream that is not back after so many hops is given up; that is what is reported of it."""


class Told(msgspec.Struct, frozen=True):
    """kind: of fault. hops: the first one that was right, the first after its beginning being 1 where `noticed`, else
    the first one whose window is clean. flapping: the stream was kept out for coming and going."""

    kind: str
    hops: int
    noticed: bool
    flapping: bool = False


class _Case:
    """One fault that stands alone, and the hops since it began and since it ended."""

    def __init__(self, fault: Fault, zero_s: float) -> None:
        self.fault = fault
        self.start_s, self.end_s = zero_s + fault.start_s, zero_s + fault.end_s
        self.begun = self.over = 0
        self.noticed = self.lost = self.flapped = False


class Watch:
    """Sees every prediction of one node, in order. told: what faults led to; missing: hops that were left out."""

    def __init__(self, hop_s: float) -> None:
        self.windows = self.missing = 0
        self.told: list[Told] = []
        self._hop_s = hop_s
        self._last_s: float | None = None
        self._cases: list[_Case] = []

    def expect(self, faults: Sequence[Fault], zero_s: float) -> None:
        """These faults are to come; their times count from `zero_s`."""
        self._cases += [_Case(fault, zero_s) for fault in _alone(faults)]

    def see(self, prediction: Prediction) -> None:
        """The next hop of the node."""
        if self._last_s is not None:
            self.missing += abs(round((prediction.end_s - self._last_s) / self._hop_s) - 1)
        self._last_s = prediction.end_s
        self.windows += 1
        live = set(prediction.pattern.split("+"))
        self._cases = [case for case in self._cases if self._goes_on(case, prediction, live)]

    def _goes_on(self, case: _Case, prediction: Prediction, live: set[str]) -> bool:
        """Whether there is more to be seen of a fault after this hop."""
        kind, takes_part = case.fault.kind, case.fault.stream in live
        if prediction.end_s <= case.start_s + SLACK_S:
            return True
        case.lost |= not takes_part
        case.flapped |= "came and went" in prediction.reasons.get(case.fault.stream, "")
        if kind in HARD and case.end_s - case.start_s >= LEAST_S and not case.noticed:
            case.begun += 1
            if not takes_part or prediction.end_s > case.end_s:
                case.noticed = True
                self.told.append(Told(kind, PATIENCE_HOPS if takes_part else case.begun, True))
        if prediction.start_s < case.end_s + SLACK_S:
            return True
        case.over += 1
        if not takes_part and case.over < PATIENCE_HOPS:
            return True
        if case.lost:
            self.told.append(Told(kind, case.over, False, case.flapped))
        return False


def _alone(faults: Sequence[Fault]) -> Iterable[Fault]:
    """Those that no other fault of the same stream comes near to."""
    for fault in faults:
        near = (
            other
            for other in faults
            if other is not fault
            and other.stream == fault.stream
            and other.start_s < fault.end_s + CLEAR_S - 1.0
            and other.end_s > fault.start_s - CLEAR_S + 1.0
        )
        if next(near, None) is None:
            yield fault
