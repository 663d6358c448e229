"""The heads: features of the modalities that speak to the model's output."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

from rep_edge.encoders.base import of_one_batch

HEADS = 4


class FusionHead(nn.Module):
    """Features of the modalities that speak, fused by attention (FOCAL's head): [B, F] each -> logits [B, classes].

    The query is the mean of the normed features, so that any subset of modalities can be fused; those left out are
    masked.
    """

    def __init__(self, names: tuple[str, ...], width: int, classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in names})
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        normed = [self.norms[name](feature) for name, feature in features.items()]
        if len(normed) == 1:
            # Attention over one key is that key's value.
            mean, mixed = normed[0], self.value(normed[0])
        else:
            stacked = torch.stack(of_one_batch(normed), dim=1)
            mean = stacked.mean(dim=1)
            mixed = self._attend(mean, stacked)
        logits: Tensor = self.classifier(self.norm(mean + self.out(mixed)))
        return logits

    def _attend(self, query: Tensor, features: Tensor) -> Tensor:
        """[B, F] over [B, K, F] -> [B, F]."""
        count, width = features.shape[1:]
        q = self.query(query).reshape(-1, 1, HEADS, width // HEADS)
        key, value = (map_(features).reshape(-1, count, HEADS, width // HEADS) for map_ in (self.key, self.value))
        scores = (q * key).sum(dim=-1, keepdim=True) * (width // HEADS) ** -0.5
        mixed: Tensor = (scores.softmax(dim=1) * value).sum(dim=1).reshape(-1, width)
        return mixed


class LinearHead(nn.Module):
    """One linear map of all features side by side, zeros where one is left out (MAP's and DCP's CLIP head): [B, F_m]
    each -> [B, outputs]."""

    def __init__(self, widths: Mapping[str, int], outputs: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(width, outputs, bias=False) for name, width in widths.items()})
        self.bias = nn.Parameter(torch.zeros(outputs))
        for weight in self.maps.parameters():
            nn.init.normal_(weight, std=0.02)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        logits = self.bias
        for name, feature in features.items():
            logits = logits + self.maps[name](feature)
        return logits


class ResidualHead(nn.Module):
    """MulT's head, W_o (p + W_2 relu(W_1 p)) with p all features side by side, zeros where one is left out: [B, F_m]
    each -> [B, outputs]."""

    def __init__(self, widths: Mapping[str, int], outputs: int, dropout: float) -> None:
        super().__init__()
        ends = list(accumulate(widths.values()))
        self.columns = {name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True)}
        self.inner, self.outer = nn.Linear(ends[-1], ends[-1]), nn.Linear(ends[-1], ends[-1])
        self.out = nn.Linear(ends[-1], outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        hidden = self.inner.bias + self._mapped(self.inner.weight, features)
        output: Tensor = self.out(self.outer(self.dropout(hidden.relu()))) + self._mapped(self.out.weight, features)
        return output

    def _mapped(self, weight: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """W p, from the columns of the features that are there."""
        columns = torch.cat([weight[:, self.columns[name]] for name in features], dim=1)
        return torch.cat(of_one_batch(list(features.values())), dim=1) @ columns.T
