"""Texts cut behind their end, where a graph gives the same answer without what follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from rep_edge.signals import Example, Text, WindowSpec

SHORTEST = 2
"""Tokens that a graph takes at least: start and end."""


def trim(windows: Mapping[str, Example], spec: WindowSpec, names: Collection[str]) -> dict[str, Example]:
    """Windows [B, *shape] with those of `names` cut behind the end of the longest text, [B, at most tokens]."""
    return {name: _cut(values, spec[name]) if name in names else values for name, values in windows.items()}


def _cut(ids: Example, modality: object) -> Example:
    assert isinstance(modality, Text)
    ended = ids == modality.end
    # Without an end a text reaches to the last token.
    lengths = np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, ids.shape[1])
    return ids[:, : max(SHORTEST, int(lengths.max()))]
