"""From the tokens that a tower's last block left to its feature."""

from __future__ import annotations

from torch import Tensor, nn

from rep_edge.encoders.transformer import heads_of


class TokenReadout(nn.Module):
    """One token, normed and projected: [B, 1, d] -> [B, feature_width]."""

    def __init__(self, norm: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.norm, self.project = norm, project

    def forward(self, tokens: Tensor) -> Tensor:
        feature: Tensor = self.project(self.norm(tokens[:, 0]))
        return feature


class MeanReadout(nn.Module):
    """The tokens' mean, with a norm before or after it, projected: [B, R, d] -> [B, feature_width]."""

    def __init__(self, before: nn.Module, after: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.before, self.after, self.project = before, after, project

    def forward(self, tokens: Tensor) -> Tensor:
        feature: Tensor = self.project(self.after(self.before(tokens).mean(dim=1)))
        return feature


class AttentionPool(nn.Module):
    """One learned query over all tokens: proj(softmax(q k^T / sqrt(d_h)) v), [B, N, d] -> [B, d'].

    query: [1, d_q]; q: its map to d'; kv: the maps of keys and values, one below the other, d to 2 d'.
    """

    def __init__(self, heads: int, query: nn.Parameter, q: nn.Linear, kv: nn.Linear, proj: nn.Linear) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.q, self.kv, self.proj = query, q, kv, proj

    def forward(self, tokens: Tensor) -> Tensor:
        query = heads_of(self.q(self.query)[None], self.heads)
        key, value = (heads_of(part, self.heads) for part in self.kv(tokens).chunk(2, dim=-1))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        pooled: Tensor = self.proj((scores.softmax(dim=-1) @ value).flatten(1))
        return pooled


class ResidualMlp(nn.Module):
    """x + mlp(norm(x)): [B, d] -> [B, d]."""

    def __init__(self, norm: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = norm, mlp

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.mlp(self.norm(x))
        return result


def attention_readout(norm: nn.Module, pool: AttentionPool, behind: nn.Module, project: nn.Module) -> nn.Module:
    """Normed tokens, pooled by attention, through what stands behind it and the projection."""
    return nn.Sequential(norm, pool, behind, project)
