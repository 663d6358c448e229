"""Missing tables: which modalities are live in which window, drawn once and shared by everything compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rep_edge.signals import Pattern, WindowSpec


def draw_patterns(
    spec: WindowSpec, n: int, missing: Sequence[str], rate: float, seed: int | Sequence[int]
) -> list[Pattern]:
    """One pattern per window: each named modality is missing in rate / len(missing) of the n windows.

    The shares are disjoint (a window loses at most one modality) and exact up to rounding; which windows lose what
    depends on the seed alone. For a single name, a higher rate with the same seed keeps the windows that a lower rate
    took. Raises ValueError for an unknown or repeated name, a rate outside 0..1, and where a window would have no live
    modality.
    """
    if len(set(missing)) != len(missing) or not set(missing) <= spec.complete:
        raise ValueError(f"missing must be distinct names out of {spec.names}, not {tuple(missing)}")
    return share_out(spec, n, [spec.complete - {name} for name in missing], rate, seed)


def share_out(
    spec: WindowSpec, n: int, incomplete: Sequence[Pattern], rate: float, seed: int | Sequence[int]
) -> list[Pattern]:
    """One pattern per window: `rate` of the n windows are incomplete, shared equally by these patterns.

    Without any pattern every window is complete. Raises ValueError for a rate outside 0..1, and where a window would
    have no live modality.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must lie between 0 and 1, not {rate}")
    if rate > 0 and not all(incomplete):
        raise ValueError("a window needs at least one live modality")
    patterns = [spec.complete] * n
    if not incomplete:
        return patterns
    order = np.random.default_rng(seed).permutation(n)
    # Rounding the running totals, not the shares, keeps the whole exact and the shares within one window of each other.
    ends = [round(rate * n * (i + 1) / len(incomplete)) for i in range(len(incomplete))]
    for pattern, start, end in zip(incomplete, [0, *ends], ends, strict=False):
        for index in order[start:end]:
            patterns[index] = pattern
    return patterns
