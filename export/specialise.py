"""A trained model becomes one module per pattern: only live windows go in, and all else is a constant."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from rep_edge.adapter.memory import HeadOnly
from rep_edge.model import ModelOutput, RepModel
from rep_edge.signals import Pattern


class PatternGraph(nn.Module):
    """The model for one pattern: live windows in modality order, [B, *shape] each, to logits [B, outputs]."""

    def __init__(self, model: RepModel, pattern: Pattern) -> None:
        super().__init__()
        self.model, self.pattern = model, pattern
        self.names = tuple(name for name in model.spec.names if name in pattern)

    def forward(self, *windows: Tensor) -> Tensor:
        output: ModelOutput = self.model(dict(zip(self.names, windows, strict=True)), self.pattern)
        return output.logits


def specialise(model: RepModel, pattern: Pattern) -> PatternGraph:
    """The model for one pattern, in evaluation mode and with nothing left to train.

    A missing modality's tower is collapsed to its placeholder's distinct tokens, or gone where the memory does not run
    it.
    """
    own = _frozen_copy(model)
    needed = set(own.memory.towers(pattern))
    for name in own.spec.names:
        if name not in needed:
            continue
        encoder = own.encoder(name) if name in pattern else own.encoder(name).collapsed(own.placeholder(name))
        own.encoders[name] = encoder
        _fold_query_scale(encoder)
    own.memory.fold()
    return PatternGraph(own, pattern).eval().requires_grad_(False)


def specialise_backbone(model: RepModel) -> PatternGraph:
    """The towers and the head alone, all modalities live, without slots: what the full graph is compared with."""
    return specialise(_without_memory(model), model.spec.complete)


def specialise_tower(model: RepModel, name: str) -> PatternGraph:
    """One tower and the head alone, without slots: what a one-sensor graph is compared with."""
    return specialise(_without_memory(model), frozenset({name}))


def _without_memory(model: RepModel) -> RepModel:
    plain = _frozen_copy(model)
    plain.memory = HeadOnly(plain.spec.names, zero_missing=True)
    return plain


def _frozen_copy(model: RepModel) -> RepModel:
    own = deepcopy(model).eval()
    own.requires_grad_(False)
    return own


def _fold_query_scale(encoder: nn.Module) -> None:
    """Scale the queries' rows of each qkv map, so that the graph does not multiply by 1 / sqrt(d)."""
    for module in encoder.modules():
        attention = cast("Any", module)
        if not (hasattr(module, "qkv") and hasattr(module, "scale")) or attention.scale == 1.0:
            continue
        width = attention.qkv.in_features
        with torch.no_grad():
            attention.qkv.weight[:width] *= attention.scale
            attention.qkv.bias[:width] *= attention.scale
        attention.scale = 1.0
