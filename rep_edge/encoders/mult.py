"""MulT (Tsai et al., ACL 2019): towers that look at each other's sequences of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rep_edge.config import MultConfig
from rep_edge.encoders.base import Beside, Embedded, Encoder, Keep, of_one_batch
from rep_edge.encoders.mult_blocks import Block, LastBlock, sinusoids
from rep_edge.errors import InputError
from rep_edge.signals import FeatureSequence, WindowSpec


class MultEncoder(Encoder):
    """The tower of one modality: temporal convolution, a stream of cross-modal blocks for each source, self-attention.

    The streams stand side by side in the channels, [B, lead + N, streams * width], so that each has its own channels of
    every slot; they are separate until the self-attention blocks. A single modality has one stream, which attends to
    itself. The last block leaves the last token alone, the one that is pooled.

    Where the authors' code does otherwise: no causal masks (slots stand in front of all tokens and would see none);
    every token has its position, also one whose first channel is zero; keys and values share one embedding dropout, and
    no modality's features are dropped before the convolution.
    """

    positions: Tensor
    joint_positions: Tensor

    def __init__(self, modality: FeatureSequence, sources: Sequence[str], config: MultConfig) -> None:
        super().__init__()
        self.sources = tuple(sources)
        self.kernel, self.stream_width = config.kernel, config.width
        self.streams = max(len(self.sources), 1)
        self.cross_steps = config.layers
        self.steps = config.layers + config.memory_layers
        self.feature_width = self.streams * config.width
        self.project = nn.Linear(config.kernel * modality.width, config.width, bias=False)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.cross_blocks = nn.ModuleList(
            nn.ModuleList(Block(config.width, config) for _ in range(self.streams)) for _ in range(config.layers)
        )
        self.stream_norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(self.streams))
        self.self_blocks = nn.ModuleList(Block(self.feature_width, config) for _ in range(config.memory_layers - 1))
        self.self_blocks.append(LastBlock(self.feature_width, config))
        self.norm = nn.LayerNorm(self.feature_width)
        self.register_buffer("positions", sinusoids(modality.length, config.width), persistent=False)
        self.register_buffer("joint_positions", sinusoids(modality.length, self.feature_width), persistent=False)

    def width(self, k: int) -> int:
        return self.feature_width

    def embed(self, window: Tensor) -> Embedded:
        """Features [B, T, d_m] to tokens [B, T, width] of one stream, as other towers look at them too."""
        length, reach = window.shape[1], self.kernel // 2
        if reach:
            padded = functional.pad(window, (0, 0, reach, reach))
            window = torch.cat([padded[:, tap : tap + length] for tap in range(self.kernel)], dim=-1)
        scaled = functional.linear(window, self.project.weight * self.stream_width**0.5)
        return Embedded(scaled + self.positions)

    def meet(self, own: Embedded, others: Mapping[str, Embedded]) -> Embedded:
        """Tokens [B, T, streams * width], the same in every stream; beside them each source's, [B or 1, T_s, width]."""
        tokens = self.embedding_dropout(torch.cat([own.tokens] * self.streams, dim=-1))
        return Embedded(tokens, tuple(self.embedding_dropout(others[name].tokens) for name in self.sources))

    def advance(self, k: int, sequence: Tensor, lead: int) -> Tensor:
        if k != self.cross_steps:
            return sequence
        positions = functional.pad(self.joint_positions, (0, 0, lead, 0))
        advanced: Tensor = self.embedding_dropout(self.widen(k, sequence) + positions)
        return advanced

    def widen(self, k: int, rows: Tensor) -> Tensor:
        if k != self.cross_steps:
            return rows
        scale = self.feature_width**0.5
        norms = [cast("nn.LayerNorm", norm) for norm in self.stream_norms]
        parts = torch.split(rows, self.stream_width, dim=-1)
        normed = [
            functional.layer_norm(part, norm.normalized_shape, norm.weight * scale, norm.bias * scale, norm.eps)
            for part, norm in zip(parts, norms, strict=True)
        ]
        return torch.cat(normed, dim=-1)

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        blocks = self._blocks(k)
        parts = sequence.chunk(len(blocks), dim=-1)
        memories = [None] * len(blocks) if fixed is None else fixed.chunk(len(blocks), dim=-1)
        sources = beside if k < self.cross_steps and beside else [None]
        stepped = [
            block(part, lead, memory, keep, source)
            for block, part, memory, source in zip(blocks, parts, memories, sources, strict=True)
        ]
        return torch.cat(of_one_batch(stepped), dim=-1)

    def remember(self, k: int, rows: Tensor) -> Tensor:
        blocks = self._blocks(k)
        parts = rows.chunk(len(blocks), dim=-1)
        return torch.cat([block.remembered(part) for block, part in zip(blocks, parts, strict=True)], dim=-1)

    def _blocks(self, k: int) -> list[Block]:
        """One block for each stream, or the one for all channels."""
        if k < self.cross_steps:
            return [cast("Block", block) for block in cast("nn.ModuleList", self.cross_blocks[k])]
        return [cast("Block", self.self_blocks[k - self.cross_steps])]

    def pool(self, tokens: Tensor, beside: Beside = ()) -> Tensor:
        feature: Tensor = self.norm(tokens[:, -1])
        return feature


def check_mult(config: MultConfig, spec: WindowSpec) -> None:
    """Raises InputError where the configuration makes no towers for these modalities."""
    for modality in spec.modalities:
        if not isinstance(modality, FeatureSequence):
            kind = modality.__struct_config__.tag
            raise InputError(
                f"encoder: kind mult takes sequences of features, but {modality.name} is of kind {kind}; "
                "make it of kind features, or choose another encoder"
            )
    if min(config.width, config.heads, config.layers, config.memory_layers, config.kernel) < 1:
        raise InputError("encoder: width, heads, layers, memory_layers and kernel must all be at least 1")
    if config.width % config.heads:
        raise InputError(f"encoder: width {config.width} must be divisible by heads {config.heads}")
    if config.kernel % 2 == 0:
        raise InputError(f"encoder: kernel must be odd, so that a token stays at its place, not {config.kernel}")
