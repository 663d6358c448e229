"""Random windows of any modality: what a graph is timed on, and compared on where no data are at hand."""

from __future__ import annotations

import numpy as np

from rep_edge.signals import Example, Modality, Text


def noise(modality: Modality, count: int, rng: np.random.Generator) -> Example:
    """[count, *shape]: standard normal values; of a text random ids of random length, ended and padded."""
    if not isinstance(modality, Text):
        return rng.standard_normal((count, *modality.shape)).astype(np.float32)
    ids = np.tile(modality.blank(), (count, 1))
    for row in ids:
        length = int(rng.integers(1, modality.tokens)) if modality.tokens > 1 else 0
        # The ids up to the end's are words in CLIP's vocabulary; start and end of text stand last there.
        row[1:length] = rng.integers(1, max(2, modality.vocabulary - 2), max(0, length - 1))
        row[length:] = modality.pad
        row[length] = modality.end
    return ids
