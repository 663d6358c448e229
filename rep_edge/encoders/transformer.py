"""Pre-norm transformer towers, as CLIP and its kin have them, run block by block with slots in front of the tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rep_edge.encoders.base import Beside, Encoder, Keep, join

Pick: TypeAlias = Callable[[Tensor], Tensor]
"""The rows of a sequence [B, M, d] whose outputs somebody reads, [B, R, d]."""


class QuickGelu(nn.Module):
    """x sigmoid(1.702 x), the approximation of GELU that OpenAI trained CLIP with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """y = x + proj(attention(norm1(x))), then y + mlp(norm2(y)).

    qkv: the maps of queries, keys and values, one below the other, with biases. scale: of the queries, 1 / sqrt(d /
    heads), or 1 once it is folded into their map. Written with plain products: under ONNX Runtime as fast as the fused
    operator of PyTorch, which is exported with more nodes.
    """

    def __init__(
        self, heads: int, norm1: nn.Module, qkv: nn.Linear, proj: nn.Linear, norm2: nn.Module, mlp: nn.Module
    ) -> None:
        super().__init__()
        self.heads, self.width = heads, proj.out_features
        self.scale = (self.width // heads) ** -0.5
        self.norm1, self.qkv, self.proj, self.norm2, self.mlp = norm1, qkv, proj, norm2, mlp

    def forward(
        self, sequence: Tensor, pick: Pick | None = None, fixed: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Sequence [B, M, d] -> all of its rows, or those that `pick` names, [B, R, d].

        fixed: `remembered` rows that are attended to as well, [1 or B, F, 2 d]. mask: what is added to the scores,
        broadcast to [B, heads, R, F + M].
        """
        normed = self.norm1(sequence)
        if pick is None:
            query, attended = self.qkv(normed).split([self.width, 2 * self.width], dim=-1)
        else:
            query, attended = self._queries(pick(normed)), self._keys_values(normed)
            sequence = pick(sequence)
        if fixed is not None:
            attended = join([fixed, attended])
        sequence = sequence + self.proj(self._attend(query, attended, mask))
        stepped: Tensor = sequence + self.mlp(self.norm2(sequence))
        return stepped

    def remember(self, rows: Tensor) -> Tensor:
        """Keys and values of rows [B, F, d] that are attended to and read by nobody: [B, F, 2 d]."""
        return self._keys_values(self.norm1(rows))

    def _queries(self, normed: Tensor) -> Tensor:
        return functional.linear(normed, self.qkv.weight[: self.width], self.qkv.bias[: self.width])

    def _keys_values(self, normed: Tensor) -> Tensor:
        return functional.linear(normed, self.qkv.weight[self.width :], self.qkv.bias[self.width :])

    def _attend(self, query: Tensor, attended: Tensor, mask: Tensor | None) -> Tensor:
        """Queries [B, R, d] over keys and values [B, F + M, 2 d] -> [B, R, d]."""
        key, value = (heads_of(part, self.heads) for part in attended.chunk(2, dim=-1))
        if self.scale != 1.0:
            query = query * self.scale
        scores = heads_of(query, self.heads) @ key.transpose(-2, -1)
        if mask is not None:
            scores = scores + mask
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2)
        return mixed.reshape(-1, query.shape[1], self.width)


def heads_of(rows: Tensor, heads: int) -> Tensor:
    """[B, R, d] -> [B, heads, R, d / heads]."""
    return rows.reshape(-1, rows.shape[1], heads, rows.shape[2] // heads).transpose(1, 2)


class TransformerTower(Encoder):
    """A tower of equal blocks: the sequence keeps its width, so that nothing happens between blocks.

    embedding: a window to tokens [B, N, d]. readout: the tokens that `read` picked, [B, R, d], to the feature. Nobody
    looks at the others after the last block, so that it computes no query, projection or MLP of them and leaves the
    picked ones alone.
    """

    def __init__(self, embedding: nn.Module, blocks: Sequence[Block], readout: nn.Module, feature_width: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.readout = readout
        self.steps, self.feature_width = len(blocks), feature_width

    def width(self, k: int) -> int:
        return self._block(k).width

    def advance(self, k: int, sequence: Tensor, lead: int) -> Tensor:
        return sequence

    def widen(self, k: int, rows: Tensor) -> Tensor:
        return rows

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        extra = lead if fixed is None else lead + fixed.shape[1]
        mask = self.mask(k, lead, extra, keep, beside)
        stepped: Tensor = self._block(k)(sequence, self._pick(k, lead, keep, beside), fixed, mask)
        return stepped

    def remember(self, k: int, rows: Tensor) -> Tensor:
        return self._block(k).remember(rows)

    def pool(self, tokens: Tensor, beside: Beside = ()) -> Tensor:
        """The tokens that the last block left to the feature [B, feature_width]."""
        feature: Tensor = self.readout(tokens)
        return feature

    def read(self, tokens: Tensor, beside: Beside) -> Tensor:
        """The tokens [B, R, d] out of [B, N, d] that are pooled; here all of them."""
        return tokens

    def mask(self, k: int, lead: int, extra: int, keep: Keep, beside: Beside) -> Tensor | None:
        """What block k adds to the scores of the kept rows over `extra` slots and the tokens; here nothing."""
        return None

    def _pick(self, k: int, lead: int, keep: Keep, beside: Beside) -> Pick | None:
        def slots(sequence: Tensor) -> Tensor:
            return sequence[:, :lead]

        def tokens(sequence: Tensor) -> Tensor:
            rows = sequence[:, lead:] if lead else sequence
            return self.read(rows, beside) if k == self.steps - 1 else rows

        if keep == "slots":
            return slots
        if keep == "tokens":
            return tokens
        return (lambda sequence: join([slots(sequence), tokens(sequence)])) if k == self.steps - 1 else None

    def _block(self, k: int) -> Block:
        return cast("Block", self.blocks[k])
