"""The equations of REP, one short function each, in the paper's numbering."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

NoiseType = Literal["gaussian", "uniform", "laplace"]


def noise(law: NoiseType, shape: Sequence[int]) -> Tensor:
    """Zero mean, unit variance, float32 (table 4's laws)."""
    if law == "gaussian":
        return torch.randn(*shape)
    if law == "uniform":
        return (torch.rand(*shape) * 2 - 1) * 3**0.5
    u = torch.rand(*shape) - 0.5
    # Variance 2 b^2 = 1; the clamp keeps the logarithm finite.
    return -u.sign() * torch.log1p((-2 * u.abs()).clamp(min=-1 + 1e-7)) / 2**0.5


def unit_rows(law: NoiseType, rows: int, width: int) -> Tensor:
    """Eq. 11: xi / ||xi||, [rows, width]."""
    return functional.normalize(noise(law, (rows, width)), dim=-1)


def start_private(tokens: Tensor, rows: int, strength: float, law: NoiseType) -> Tensor:
    """Eq. 10: F_p[0] = pooled LayerNorm(E[0]) + strength * noise: [B, N, d] -> [B, rows, d]. Strength 0: no noise."""
    normed = functional.layer_norm(tokens, tokens.shape[-1:])
    pooled = functional.adaptive_avg_pool1d(normed.transpose(1, 2), rows).transpose(1, 2)
    return pooled + strength * noise(law, pooled.shape).to(pooled.device) if strength else pooled


def replay(slots: Tensor | None, strength: Tensor | float, buffer: Tensor) -> Tensor:
    """Eq. 5 (slots None: empty) and eq. 9: slots + beta * buffer, [B, L / 2, d]."""
    return strength * buffer if slots is None else slots + strength * buffer


def update(buffer: Tensor, news: Tensor, rate: Tensor) -> Tensor:
    """Eq. 7 and eq. 8: rate * news + (1 - rate) * buffer, rate in (0, 1)."""
    return rate * news + (1 - rate) * buffer


def orthogonality(rows: Sequence[Tensor]) -> Tensor:
    """Eq. 6 as squared cosines: summed over pairs of buffers [B, L / 2, d], averaged over rows and windows; a scalar.

    The paper's plain inner product has no lower bound, so minimising it would only make buffers long.
    """
    pairs = [functional.cosine_similarity(a, b, dim=-1).square().mean() for a, b in combinations(rows, 2)]
    return torch.stack(pairs).sum()
