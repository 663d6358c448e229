"""The interface of a memory: it takes embedded tokens through the towers and returns what the head fuses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from rep_edge.adapter.cache import Cache, Levels
from rep_edge.config import AdapterConfig
from rep_edge.encoders.base import Embedded, Encoder
from rep_edge.signals import Pattern

Encoders = Mapping[str, Encoder]


class Features(NamedTuple):
    """by_modality: [B, feature_width] for every tower that ran; orthogonality: scalar, eq. 6 summed over updates."""

    by_modality: dict[str, Tensor]
    orthogonality: Tensor


class Memory(nn.Module):
    """What an adapter adds to frozen towers, for one pattern at a time.

    caches: by modality, what the head reads of early blocks; empty where the configuration names no blocks.
    trims: whether what stands behind a window's end may be cut off where the tower is causal.
    """

    trims: bool = True

    def __init__(self) -> None:
        super().__init__()
        self.caches = nn.ModuleDict()

    @abstractmethod
    def towers(self, pattern: Pattern) -> Iterable[str]:
        """Modalities whose tower must be embedded for this pattern; the missing ones through their placeholder."""

    @abstractmethod
    def forward(self, encoders: Encoders, embedded: Mapping[str, Embedded], pattern: Pattern) -> Features:
        """embedded: windows by modality, a placeholder's with B = 1."""

    def levels(self, name: str, encoder: Encoder) -> Levels:
        """What a pass through the tower of `name` leaves in its cache, still empty."""
        return Levels(encoder, cast("Cache", self.caches[name]) if name in self.caches else None)

    def fold(self) -> None:
        """What scales a neighbouring map into that map: the same pass in fewer steps, for export."""
        for cache in self.caches.values():
            cast("Cache", cache).fold()

    def prepare(self, encoders: Encoders, embedded: Mapping[str, Embedded]) -> None:
        """Start from some embedded training windows: caches learn their levels."""
        for name in self.caches:
            levels = self.levels(name, encoders[name])
            plain_tower(encoders[name], embedded[name], levels)
            cast("Cache", self.caches[name]).prepare(levels.taken)


class HeadOnly(Memory):
    """No slots: the towers as they are, only the head learns."""

    def __init__(self, names: tuple[str, ...], zero_missing: bool) -> None:
        super().__init__()
        self.names, self.zero_missing = names, zero_missing

    def towers(self, pattern: Pattern) -> Iterable[str]:
        return heard(self.names, pattern, self.zero_missing)

    def forward(self, encoders: Encoders, embedded: Mapping[str, Embedded], pattern: Pattern) -> Features:
        features = {
            name: plain_tower(encoders[name], window, self.levels(name, encoders[name]))
            for name, window in embedded.items()
        }
        return Features(features, no_penalty(embedded))


def heard(names: Iterable[str], pattern: Pattern, zero_missing: bool) -> list[str]:
    """Modalities whose feature the head fuses: the live ones, and without `zero_missing` the missing ones too."""
    return [name for name in names if name in pattern or not zero_missing]


def plain_tower(encoder: Encoder, embedded: Embedded, levels: Levels) -> Tensor:
    """An embedded window through every block without slots: [B, feature_width]."""
    tokens = _plain_steps(encoder, embedded, encoder.steps, levels)
    return levels.added_to(encoder.pool(tokens, embedded.beside))


def lead_in(encoder: Encoder, embedded: Embedded, first: int, levels: Levels) -> Tensor:
    """An embedded window through the blocks before the slots: tokens as block `first` takes them."""
    return encoder.advance(first, _plain_steps(encoder, embedded, first, levels), 0)


def _plain_steps(encoder: Encoder, embedded: Embedded, blocks: int, levels: Levels) -> Tensor:
    tokens = embedded.tokens
    for k in range(blocks):
        tokens = encoder.step(k, encoder.advance(k, tokens, 0), 0, beside=embedded.beside)
        levels.take(k, tokens, embedded.beside)
    return tokens


def no_penalty(embedded: Mapping[str, Embedded]) -> Tensor:
    """An orthogonality of zero."""
    return next(iter(embedded.values())).tokens.new_zeros(())


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


class MeanReader(nn.Module):
    """The same of the rows' mean, through a narrow waist, where a row is wide: rows [B, n, d] -> [B, feature_width]."""

    def __init__(self, width: int, waist: int, feature_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, waist)
        self.project = nn.Linear(waist, feature_width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, rows: Tensor) -> Tensor:
        offset: Tensor = self.project(self.narrow(self.norm(rows).mean(dim=1)))
        return offset


def build_reader(config: AdapterConfig, rows: int, width: int, feature_width: int) -> nn.Module:
    """The reader that `config` names, for rows [B, rows, width]."""
    if config.reader == "mean":
        return MeanReader(width, config.bottleneck, feature_width)
    return Reader(rows, width, feature_width)


def bottleneck(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    """G: Linear, GELU, Linear."""
    return nn.Sequential(nn.Linear(width_in, hidden), nn.GELU(), nn.Linear(hidden, width_out))


def scalar(value: float) -> nn.Parameter:
    """A learned scalar."""
    return nn.Parameter(torch.tensor(value))
