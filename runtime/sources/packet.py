"""What a packet from the network must hold to before its samples are believed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LONGEST_S = 60.0
"""Seconds of samples in one packet; more is a recording, or a wrong rate."""

LATEST_S = 4102444800.0
"""Seconds since 1970: the year 2100. Time stamps in milliseconds lie beyond it."""

HIGHEST_HZ = 1e6


def fault_of(values: NDArray[np.float32], start_s: float, rate_hz: float) -> str | None:
    """Why samples [channels, n] from `start_s` on (s since 1970) are refused, in fixed words; None: they are not."""
    if not 0 <= start_s < LATEST_S:
        return "its time is none between 1970 and 2100"
    if not 0 < rate_hz <= HIGHEST_HZ:
        return "its rate is none"
    if not values.size:
        return "it holds no samples"
    if values.shape[1] > LONGEST_S * rate_hz:
        return f"it lasts longer than {LONGEST_S:g} s"
    if not math.isfinite(float(np.abs(values).max())):
        return "it holds samples that are no finite numbers"
    return None
