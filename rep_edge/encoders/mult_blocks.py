"""MulT's transformer block, over another modality's tokens or over its own sequence."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from rep_edge.config import MultConfig
from rep_edge.encoders.base import Keep, join

EXPANSION = 4
"""Hidden width of the feed-forward part, in widths of the block."""


class Attention(nn.Module):
    """Multi-head attention; keys and values are made apart from queries, so that those of a constant are constants.

    qkv: the maps of queries, keys and values, one below the other. scale: of the queries, 1 / sqrt(d / heads), or 1
    once it is folded into their map.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def keys_values(self, rows: Tensor) -> Tensor:
        """[B, M, d] -> [B, M, 2 d]."""
        width = rows.shape[-1]
        return functional.linear(rows, self.qkv.weight[width:], self.qkv.bias[width:])

    def forward(self, rows: Tensor, keys_values: Tensor) -> Tensor:
        """Rows [B, N, d] over what they attend to [B, M, 2 d]; one of the batches may be 1 -> [B, N, d]."""
        count, width = rows.shape[1:]
        query = functional.linear(rows, self.qkv.weight[:width], self.qkv.bias[:width])
        key, value = torch.split(_heads(keys_values, 2 * self.heads), self.heads, dim=1)
        scores = _heads(query * self.scale, self.heads) @ key.transpose(-2, -1)
        mixed = (self.dropout(scores.softmax(dim=-1)) @ value).transpose(1, 2)
        rows_out: Tensor = self.out(mixed.reshape(-1, count, width))
        return rows_out


def _heads(rows: Tensor, heads: int) -> Tensor:
    """[B, N, d] -> [B, heads, N, d / heads]."""
    count, width = rows.shape[1:]
    return rows.reshape(-1, count, heads, width // heads).transpose(1, 2)


class Block(nn.Module):
    """y = x + Attention(LN(x), LN(source)), then y + W_2 relu(W_1 LN(y)), with biases (residuals as in MulT's code).

    One norm serves the sequence and what it attends to. Slots in front are attended to by every row as well. MulT's
    equations have no mask, and neither has this block.
    """

    def __init__(self, width: int, config: MultConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads, config.attention_dropout)
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)
        self.relu_dropout = nn.Dropout(config.relu_dropout)
        self.residual_dropout = nn.Dropout(config.residual_dropout)
        for layer in (self.attention.qkv, self.attention.out, self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, sequence: Tensor, lead: int, fixed: Tensor | None, keep: Keep, source: Tensor | None = None
    ) -> Tensor:
        """Sequence [B, lead + N, d] -> what is kept of it. source: [B or 1, M, d]; None: the sequence itself.

        fixed: `remembered` slots, [B or 1, F, 2 d].
        """
        normed = self.norm1(sequence)
        attended = [] if fixed is None else [fixed]
        if source is None:
            attended.append(self.attention.keys_values(normed))
        else:
            attended.append(self.remembered(source))
            if lead:
                attended.append(self.attention.keys_values(normed[:, :lead]))
        mixed = self.attention(self.kept(normed, lead, keep), _constants_first(attended))
        rows = self.kept(sequence, lead, keep) + self.residual_dropout(mixed)
        hidden = self.relu_dropout(self.fc1(self.norm2(rows)).relu())
        stepped: Tensor = rows + self.residual_dropout(self.fc2(hidden))
        return stepped

    def remembered(self, rows: Tensor) -> Tensor:
        """Keys and values of rows that are attended to: [B, M, d] -> [B, M, 2 d]."""
        return self.attention.keys_values(self.norm1(rows))

    def kept(self, sequence: Tensor, lead: int, keep: Keep) -> Tensor:
        """The rows that somebody reads."""
        if keep == "all":
            return sequence
        return sequence[:, lead:] if keep == "tokens" else sequence[:, :lead]


class LastBlock(Block):
    """The block before the pooling, which reads the last token: of the tokens that one alone is computed."""

    def kept(self, sequence: Tensor, lead: int, keep: Keep) -> Tensor:
        if keep == "slots":
            return sequence[:, :lead]
        last = sequence[:, -1:]
        return torch.cat([sequence[:, :lead], last], dim=1) if keep == "all" and lead else last


def _constants_first(parts: Sequence[Tensor]) -> Tensor:
    """Keys and values joined; their order is free, and constants side by side become one constant of a graph."""
    constant = [part for part in parts if part.shape[0] == 1]
    live = [part for part in parts if part.shape[0] != 1]
    return join([join(constant), *live] if constant else live)


def sinusoids(count: int, width: int) -> Tensor:
    """Positions 1 to `count` [count, width]: sines of falling frequency, their cosines, a zero where width is odd."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float64) * (-log(10000) / max(half - 1, 1)))
    angles = torch.arange(1, count + 1)[:, None] * frequencies
    return functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1).float(), (0, width - 2 * half))
