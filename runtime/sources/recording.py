"""A file as a stream: its samples in short pieces, at the rate that the model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECE_S = 0.1
"""Seconds; about what sound cards and data loggers deliver at once."""

SAME_RATE = 1e-4
"""Rates that differ by a smaller share are the same one: a recorder writes what it measured, 99.9998 Hz."""


class Piece(NamedTuple):
    """Samples float32 [channels, n] without a gap, the first one at `start_s` on the recording's own time line."""

    start_s: float
    values: NDArray[np.float32]


class Recording(NamedTuple):
    """What a file holds for one modality.

    begin_s: time of its first sample in s, since 1970 where `absolute`, else 0; length_s: to its last one, with gaps.
    note: what people should know: the channel taken, the rate converted from, gaps.
    pieces: reads it from the start, in the order of time, in pieces of about PIECE_S.
    """

    begin_s: float
    length_s: float
    absolute: bool
    note: str
    pieces: Callable[[], Iterator[Piece]]


def same_rate(rate_hz: float, wanted_hz: float) -> bool:
    return abs(rate_hz - wanted_hz) <= SAME_RATE * wanted_hz


def existing(path: Path) -> bool:
    """Whether the path leads to a file; a name too long for the system does not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
