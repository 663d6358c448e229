"""Faults of the samples themselves: what each kind makes of the samples that it covers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.faults.fault import Fault
from rep_edge.runtime.faults.parts import Part

Samples = NDArray[np.float32]


class Level(NamedTuple):
    """What a stream was like as the fault began, of each channel [channels, 1]: mean, RMS about it, last sample."""

    mean: Samples
    rms: Samples
    last: Samples


Change = Callable[[Samples, Level, np.float32, np.random.Generator], Samples]
"""Samples [channels, n], the level, the fault's value, a generator -> samples of the same shape."""


def _gain(x: Samples, level: Level, value: np.float32, rng: np.random.Generator) -> Samples:
    scaled: Samples = value * x
    return scaled


def _offset(x: Samples, level: Level, value: np.float32, rng: np.random.Generator) -> Samples:
    moved: Samples = x + value * level.rms
    return moved


def _noise(x: Samples, level: Level, value: np.float32, rng: np.random.Generator) -> Samples:
    noisy: Samples = x + value * level.rms * rng.standard_normal(x.shape, np.float32)
    return noisy


def _clip(x: Samples, level: Level, value: np.float32, rng: np.random.Generator) -> Samples:
    return np.clip(x, level.mean - value * level.rms, level.mean + value * level.rms)


def _stuck(x: Samples, level: Level, value: np.float32, rng: np.random.Generator) -> Samples:
    return np.repeat(level.last, x.shape[1], axis=1)


def _nan(x: Samples, level: Level, value: np.float32, rng: np.random.Generator) -> Samples:
    return np.where(rng.random(x.shape) < value, np.float32(np.nan), x)


CHANGES: dict[str, Change] = {
    "gain": _gain,
    "offset": _offset,
    "noise": _noise,
    "clip": _clip,
    "stuck": _stuck,
    "nan": _nan,
}


def changed(parts: Iterator[Part], fault: Fault, rng: np.random.Generator) -> Iterator[Part]:
    """The parts, those within the fault with other samples."""
    change, value = CHANGES[fault.kind], np.float32(fault.value)
    before: Part | None = None
    level: Level | None = None
    for part in parts:
        if not fault.covers(part.taken_s):
            before, level = part, None
            yield part
            continue
        level = level or _level(part, before)
        yield part.holding(change(part.values, level, value, rng))


def _level(part: Part, before: Part | None) -> Level:
    """A part may be one sample long; with the one before it is a chunk at least."""
    if before is None:
        x, last = part.values, part.values[:, :1]
    else:
        x, last = np.concatenate([before.values, part.values], axis=1), before.values[:, -1:]
    return Level(x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True), last)
