"""What early blocks heard, kept past the deeper ones and read by the head: REP's residual bypass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rep_edge.encoders.base import Beside, Encoder, of_one_batch

SPREAD = 3.0
"""Spread of the standardised levels. AdamW moves all weights at one pace: at a spread of 1 the map lags behind the head
that reads it."""
SMALLEST = 1e-3
"""Added to the spread seen in training, so that a channel that never moves is not blown up."""


class Cache(nn.Module):
    """One tower's cache: levels of the channels after some blocks, mapped to an offset of the feature, at first zero.

    blocks: those after which the levels are taken. centre, scale: standardisation [sum of the blocks' widths], None
    once it is folded into the map.
    """

    centre: Tensor | None
    scale: Tensor | None

    def __init__(self, encoder: Encoder, blocks: Sequence[int]) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        total = sum(encoder.width(k) for k in blocks)
        self.register_buffer("centre", torch.zeros(total))
        self.register_buffer("scale", torch.ones(total))
        self.project = nn.Linear(total, encoder.feature_width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels [B, width(k)] of every block -> [B, feature_width]."""
        joined = torch.cat(of_one_batch(levels), dim=-1)
        if self.centre is not None and self.scale is not None:
            joined = (joined - self.centre) * self.scale
        offset: Tensor = self.project(joined)
        return offset

    def prepare(self, levels: Sequence[Tensor]) -> None:
        """Standardise by these levels [n, width(k)] of training windows."""
        joined = torch.cat(list(levels), dim=-1)
        self.centre = joined.mean(dim=0)
        self.scale = SPREAD / (joined.std(dim=0) + SMALLEST)

    def fold(self) -> None:
        """The standardisation into the map: the same offsets from fewer steps, for export."""
        if self.centre is None or self.scale is None:
            return
        with torch.no_grad():
            self.project.weight *= self.scale
            self.project.bias.sub_(self.project.weight @ self.centre)
        self.centre = self.scale = None


class Levels:
    """What one pass through a tower leaves in its cache; without a cache, nothing."""

    def __init__(self, encoder: Encoder, cache: Cache | None) -> None:
        self.encoder, self.cache = encoder, cache
        self.taken: list[Tensor] = []

    def take(self, k: int, tokens: Tensor, beside: Beside) -> None:
        """Note the levels of the tokens that block k left, if it is one of the cache's."""
        if self.cache is not None and k in self.cache.blocks:
            self.taken.append(self.encoder.level(k, tokens, beside))

    def added_to(self, feature: Tensor) -> Tensor:
        """The pooled feature [B, feature_width] with what the cache holds."""
        return feature if self.cache is None else feature + self.cache(self.taken)
