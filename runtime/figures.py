"""What the samples of one channel's window are like: the figures that health is told from, in few passes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCKS = 16
"""Pieces of a window whose RMS is compared: an eighth of a second each where it lasts two."""
FEWEST_IN_BLOCK = 4
QUIET = 4
"""The noise floor is that of the quietest quarter of the pieces: what passes by is louder, but not all the time."""


class Figures(NamedTuple):
    """Of one channel's window, in the modality's unit.

    lowest, highest: samples; mean: of all; level: RMS after the mean is taken off; floor: the same of the louder piece
    of the quietest quarter of the window's pieces, each after its own mean is taken off.
    """

    lowest: float
    highest: float
    mean: float
    level: float
    floor: float


def figures(x: NDArray[np.float32]) -> Figures | None:
    """Figures of [n] samples; None where one of them is a NaN or an infinity."""
    blocks = max(1, min(BLOCKS, x.size // FEWEST_IN_BLOCK))
    length = x.size // blocks
    # Samples too large to be added or squared are told by their largest one. Ufuncs are called as such: a window of 200
    # samples costs what the calls cost.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.add.reduce(x)) / x.size
        if not (math.isfinite(mean) or np.isfinite(x).all()):
            return None
        centred = (x - np.float32(mean))[: blocks * length].reshape(blocks, length)
        powers = np.einsum("ij,ij->i", centred, centred) / length
        # Each block around its own mean: what is loud elsewhere moves the mean of all.
        quiet = sorted((powers - np.square(np.add.reduce(centred, axis=1) / length)).tolist())
    return Figures(
        lowest=float(np.minimum.reduce(x)),
        highest=float(np.maximum.reduce(x)),
        mean=mean,
        level=math.sqrt(np.add.reduce(powers) / blocks),
        floor=math.sqrt(max(0.0, quiet[max(0, blocks // QUIET - 1)])),
    )


def longest_run(x: NDArray[np.float32]) -> int:
    """Samples in the longest run of equal neighbours, at least 1: [n] -> count."""
    repeats = x[1:] == x[:-1]
    if not np.count_nonzero(repeats):
        return 1
    changes = np.flatnonzero(~repeats)
    if not changes.size:
        return x.size
    return int(max(changes[0] + 1, x.size - 1 - changes[-1], np.diff(changes).max(initial=0)))


def clipped_share(x: NDArray[np.float32], lowest: float, highest: float, least: float = 0.0) -> float:
    """Share, 0 to 1, of samples at the lowest or the highest value, whichever holds more, where that value is more than
    twice as frequent as any between the two; 0 where it is not, or where the share is not above `least`."""
    share = max(np.count_nonzero(x == highest), np.count_nonzero(x == lowest)) / x.size
    return share if share > least and _rails_stand_out(x) else 0.0


def _rails_stand_out(x: NDArray[np.float32]) -> bool:
    counts = np.unique(x, return_counts=True)[1]
    inner = counts[1:-1].max() if counts.size > 2 else 0
    return bool(max(counts[0], counts[-1]) > 2 * inner)
