"""Missing-aware prompts (MAP): learned rows for every pattern and block at the places where REP has its slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from rep_edge.adapter.memory import Encoders, Features, Memory, heard, lead_in, no_penalty
from rep_edge.config import AdapterConfig
from rep_edge.encoders.base import Embedded, Encoder
from rep_edge.signals import Pattern, WindowSpec

START_STD = 0.02


class PromptMemory(Memory):
    """L rows per pattern, modality and block with replay, attended to and replaced before the next block."""

    def __init__(self, encoders: Encoders, spec: WindowSpec, config: AdapterConfig) -> None:
        super().__init__()
        self.config, self.names = config, spec.names
        self.pattern_name = spec.pattern_name
        self.prompts = nn.ModuleDict(
            {
                spec.pattern_name(pattern): nn.ModuleDict({n: _rows(encoders[n], config) for n in self.towers(pattern)})
                for pattern in spec.patterns()
            }
        )

    def towers(self, pattern: Pattern) -> Iterable[str]:
        return heard(self.names, pattern, self.config.zero_missing)

    def forward(self, encoders: Encoders, embedded: Mapping[str, Embedded], pattern: Pattern) -> Features:
        prompts = cast("nn.ModuleDict", self.prompts[self.pattern_name(pattern)])
        features = {
            name: self._through(name, encoders[name], window, list(cast("nn.ParameterList", prompts[name])))
            for name, window in embedded.items()
        }
        return Features(features, no_penalty(embedded))

    def _through(self, name: str, encoder: Encoder, embedded: Embedded, prompts: list[Tensor]) -> Tensor:
        first, levels = self.config.first, self.levels(name, encoder)
        tokens = lead_in(encoder, embedded, first, levels)
        for k in range(first, encoder.steps):
            sequence = encoder.advance(k, tokens, 0) if k > first else tokens
            fixed = encoder.remember(k, prompts[k - first][None]) if k - first < len(prompts) else None
            tokens = encoder.step(k, sequence, 0, fixed, beside=embedded.beside)
            levels.take(k, tokens, embedded.beside)
        return levels.added_to(encoder.pool(tokens, embedded.beside))


def _rows(encoder: Encoder, config: AdapterConfig) -> nn.ParameterList:
    blocks = range(config.first, config.first + config.depth)
    return nn.ParameterList(START_STD * torch.randn(config.slots, encoder.width(k)) for k in blocks)
