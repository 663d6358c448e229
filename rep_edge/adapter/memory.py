"""The interface of a memory: it takes embedded tokens through the towers and returns what the head fuses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from rep_edge.adapter.cache import Cache, Levels
from rep_edge.encoders.base import Encoder
from rep_edge.signals import Pattern

Encoders = Mapping[str, Encoder]


class Features(NamedTuple):
    """by_modality: [B, feature_width] for every tower that ran; orthogonality: scalar, eq. 6 summed over updates."""

    by_modality: dict[str, Tensor]
    orthogonality: Tensor


class Memory(nn.Module):
    """What an adapter adds to frozen towers, for one pattern at a time.

    caches: by modality, what the head reads of early blocks; empty where the configuration names no blocks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.caches = nn.ModuleDict()

    @abstractmethod
    def towers(self, pattern: Pattern) -> Iterable[str]:
        """Modalities whose tower must be embedded for this pattern; the missing ones through their placeholder."""

    @abstractmethod
    def forward(self, encoders: Encoders, tokens: Mapping[str, Tensor], pattern: Pattern) -> Features:
        """tokens: embedded [B, N, d] by modality, a placeholder's with B = 1."""

    def levels(self, name: str, encoder: Encoder) -> Levels:
        """What a pass through the tower of `name` leaves in its cache, still empty."""
        return Levels(encoder, cast("Cache", self.caches[name]) if name in self.caches else None)

    def fold(self) -> None:
        """What scales a neighbouring map into that map: the same pass in fewer steps, for export."""
        for cache in self.caches.values():
            cast("Cache", cache).fold()

    def prepare(self, encoders: Encoders, tokens: Mapping[str, Tensor]) -> None:
        """Start from the embedded tokens of some training windows: caches learn their levels."""
        for name in self.caches:
            levels = self.levels(name, encoders[name])
            plain_tower(encoders[name], tokens[name], levels)
            cast("Cache", self.caches[name]).prepare(levels.taken)


class HeadOnly(Memory):
    """No slots: the towers as they are, only the head learns."""

    def __init__(self, names: tuple[str, ...], zero_missing: bool) -> None:
        super().__init__()
        self.names, self.zero_missing = names, zero_missing

    def towers(self, pattern: Pattern) -> Iterable[str]:
        return heard(self.names, pattern, self.zero_missing)

    def forward(self, encoders: Encoders, tokens: Mapping[str, Tensor], pattern: Pattern) -> Features:
        features = {
            name: plain_tower(encoders[name], sequence, self.levels(name, encoders[name]))
            for name, sequence in tokens.items()
        }
        return Features(features, no_penalty(tokens))


def heard(names: Iterable[str], pattern: Pattern, zero_missing: bool) -> list[str]:
    """Modalities whose feature the head fuses: the live ones, and without `zero_missing` the missing ones too."""
    return [name for name in names if name in pattern or not zero_missing]


def plain_tower(encoder: Encoder, tokens: Tensor, levels: Levels) -> Tensor:
    """Embedded tokens through every block without slots: [B, N, d] -> [B, feature_width]."""
    for k in range(encoder.steps):
        tokens = _plain_step(encoder, k, tokens, levels)
    return levels.added_to(encoder.pool(tokens))


def lead_in(encoder: Encoder, tokens: Tensor, first: int, levels: Levels) -> Tensor:
    """Embedded tokens through the blocks before the slots, as block `first` takes them."""
    for k in range(first):
        tokens = _plain_step(encoder, k, tokens, levels)
    return encoder.advance(first, tokens, 0)


def _plain_step(encoder: Encoder, k: int, tokens: Tensor, levels: Levels) -> Tensor:
    tokens = encoder.step(k, encoder.advance(k, tokens, 0), 0)
    levels.take(k, tokens)
    return tokens


def no_penalty(tokens: Mapping[str, Tensor]) -> Tensor:
    """An orthogonality of zero."""
    return next(iter(tokens.values())).new_zeros(())


class Reader(nn.Module):
    """What the head reads of slots or buffers: rows [B, n, d] to an offset of the feature [B, feature_width], at first
    zero."""

    def __init__(self, rows: int, width: int, feature_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(rows * width, feature_width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, rows: Tensor) -> Tensor:
        offset: Tensor = self.project(self.norm(rows).flatten(1))
        return offset


def bottleneck(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    """G: Linear, GELU, Linear."""
    return nn.Sequential(nn.Linear(width_in, hidden), nn.GELU(), nn.Linear(hidden, width_out))


def scalar(value: float) -> nn.Parameter:
    """A learned scalar."""
    return nn.Parameter(torch.tensor(value))
