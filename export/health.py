"""What the training windows are like, by which a device tells a sensor that has become strange."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.figures import clipped_share, figures, longest_run
from rep_edge.runtime.manifest import HealthRecord
from rep_edge.signals import Stream, WindowSpec

TAIL = 0.01
"""Share of the windows on either side that is left out, for training data has faulty recordings too."""
LEAST_NOISE = 1e-4
"""Of the largest sample: simulated data may have no noise at all, and every sensor has some."""


def health_records(spec: WindowSpec, windows: Mapping[str, NDArray[np.float32]]) -> dict[str, HealthRecord]:
    """Modality -> its record. windows: modality -> float32 [n, channels, samples].

    A modality whose windows are all flat or no numbers has none.
    """
    found = {
        m.name: _record(m, windows[m.name]) for m in spec.modalities if isinstance(m, Stream) and m.name in windows
    }
    return {name: record for name, record in found.items() if record is not None}


def _record(modality: Stream, windows: NDArray[np.float32]) -> HealthRecord | None:
    noise, means, largest, clipped, stuck = [], [], [], [], []
    healthy = 0
    for window in windows:
        channels = [figures(x) for x in window]
        if any(found is None or found.lowest == found.highest for found in channels):
            continue
        healthy += 1
        for x, found in zip(window, channels, strict=True):
            assert found is not None
            noise.append(found.floor)
            means.append(found.mean)
            largest.append(max(-found.lowest, found.highest))
            clipped.append(clipped_share(x, found.lowest, found.highest))
            run = longest_run(x)
            stuck.append(run / modality.rate_hz if run > 1 else 0.0)
    if not healthy:
        return None
    return HealthRecord(
        windows=healthy,
        noise_low=_low(noise),
        noise_high=max(_high(noise), LEAST_NOISE * _high(largest)),
        mean_low=_low(means),
        mean_high=_high(means),
        largest=_high(largest),
        clipped=_high(clipped),
        stuck_s=_high(stuck),
    )


def _low(values: list[float]) -> float:
    """The lowest value, the tail left out."""
    return float(np.quantile(values, TAIL, method="higher"))


def _high(values: list[float]) -> float:
    """The highest value, the tail left out."""
    return float(np.quantile(values, 1 - TAIL, method="lower"))
