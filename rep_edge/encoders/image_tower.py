"""A picture's tower: patches with their positions, blocks, and one feature of what the last block leaves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rep_edge.encoders.base import Beside, Embedded
from rep_edge.encoders.transformer import Block, TransformerTower

CLASS_TOKEN = slice(0, 1)
PATCHES = slice(1, None)
EVERY_TOKEN = slice(None)


class Patches(nn.Module):
    """Pictures [B, 3, size, size] to patches [B, N, d], row by row, each by one linear map."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, pictures: Tensor) -> Tensor:
        patches: Tensor = self.convolution(pictures).flatten(2).transpose(1, 2)
        return patches


class PatchEmbedding(nn.Module):
    """Pictures float32 [B, 3, size, size] to tokens [B, N, d]: class token, if there is one, then patches row by row.

    patches: pictures to [B, P, d]. class_token: [1, d], or [0, d] for none; positions: of all tokens, [N, d]; norm: of
    what enters the first block.
    """

    def __init__(self, patches: nn.Module, class_token: nn.Parameter, positions: nn.Parameter, norm: nn.Module) -> None:
        super().__init__()
        self.patches, self.norm = patches, norm
        self.class_token, self.positions = class_token, positions

    def forward(self, pictures: Tensor) -> Tensor:
        front = self.class_token.shape[0]
        patches = self.patches(pictures) + self.positions[front:]
        if front:
            first = self.class_token + self.positions[:front]
            patches = torch.cat([first.expand(pictures.shape[0], -1, -1), patches], dim=1)
        tokens: Tensor = self.norm(patches)
        return tokens


class ImageTower(TransformerTower):
    """The tower of an image modality. pooled: the tokens that `readout` takes."""

    embedding: PatchEmbedding

    def __init__(
        self,
        embedding: PatchEmbedding,
        blocks: Sequence[Block],
        readout: nn.Module,
        feature_width: int,
        pooled: slice,
    ) -> None:
        super().__init__(embedding, blocks, readout, feature_width)
        self.pooled = pooled

    def embed(self, window: Tensor) -> Embedded:
        return Embedded(self.embedding(window))

    def read(self, tokens: Tensor, beside: Beside) -> Tensor:
        return tokens[:, self.pooled]

    def typical(self, tokens: Tensor) -> Tensor:
        """The class token, where there is one, else the mean."""
        return super().typical(tokens[:, : self.embedding.class_token.shape[0] or None])
