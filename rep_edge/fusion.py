"""The head: attention over the modalities' features and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

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
            stacked = torch.stack(_of_one_batch(normed), dim=1)
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


def _of_one_batch(features: list[Tensor]) -> tuple[Tensor, ...]:
    """Features [B, F], a constant one with B = 1 repeated to the others' batch."""
    broadcast = cast("Callable[..., tuple[Tensor, ...]]", torch.broadcast_tensors)
    return broadcast(*features)
