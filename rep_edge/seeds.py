"""Independent seeds for every purpose, derived from the one seed of a run."""

from __future__ import annotations

import numpy as np


def derive_seed(seed: int, *purpose: int | str) -> int:
    """A 63-bit seed that depends on the run's seed and on the purpose alone, e.g. ("dropout", epoch, step).

    Work that is seeded this way needs no stored generator state: a resumed run derives the same seeds again.
    """
    parts = [p if isinstance(p, int) else int.from_bytes(p.encode(), "big") for p in purpose]
    words = np.random.SeedSequence([seed, *parts]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])
