"""Faults on the way: how many samples come, which chunks, in which order, when, and with what time on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from rep_edge.runtime.faults.fault import Fault
from rep_edge.runtime.faults.parts import Part

BURST_CHUNKS = 5
"""Mean length of a burst of losses."""


def _rate(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    owed = 0.0
    for part in parts:
        if not fault.covers(part.taken_s):
            yield part
            continue
        have = part.values.shape[1]
        owed += fault.value * have
        count, owed = int(owed), owed % 1
        if count:
            yield part.holding(part.values[:, np.arange(count) * have // count])


def _dropout(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    return (part for part in parts if not fault.covers(part.taken_s))


def _burst(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    """A chain of two states, lossy and not, whose chances give the share lost and the mean length of a burst.

    E. N. Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39, 1960.
    """
    leave = 1 / BURST_CHUNKS
    enter = leave * fault.value / (1 - fault.value)
    lossy = False
    for part in parts:
        if fault.covers(part.taken_s):
            lossy = rng.random() >= leave if lossy else rng.random() < enter
            if lossy:
                continue
        yield part


def _duplicate(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    for part in parts:
        yield part
        if fault.covers(part.taken_s) and rng.random() < fault.value:
            yield part


def _reorder(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    held: Part | None = None
    for part in parts:
        if held is not None:
            yield part
            yield held.arriving(part.chunk.arrived_s)
            held = None
        elif fault.covers(part.taken_s) and rng.random() < fault.value:
            held = part
        else:
            yield part
    if held is not None:
        yield held


def _late(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    held: deque[Part] = deque()
    now_s = 0.0
    for part in parts:
        now_s = part.chunk.arrived_s
        delay_s = fault.value if fault.covers(part.taken_s) else 0.0
        held.append(part)
        while held and held[0].chunk.arrived_s + delay_s <= now_s:
            yield held.popleft().arriving(now_s)
    for part in held:
        yield part.arriving(now_s)


def _jump(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    for part in parts:
        yield part.stamped_later(fault.value) if fault.covers(part.taken_s) else part


def _drift(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    for part in parts:
        gained_s = 1e-6 * fault.value * (part.taken_s - fault.start_s)
        yield part.stamped_later(gained_s) if fault.covers(part.taken_s) else part


DELIVERIES: dict[str, Callable[[Iterator[Part], Fault, np.random.Generator], Iterator[Part]]] = {
    "rate": _rate,
    "dropout": _dropout,
    "burst": _burst,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "late": _late,
    "jump": _jump,
    "drift": _drift,
}
"""Kind to what becomes of the parts, none of which crosses the beginning or the end of the fault."""
