"""The whole classifier: towers, memory and head, for any pattern of live modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple, cast

import msgspec
import torch
from torch import Tensor, nn

from rep_edge.adapter.choice import build_memory
from rep_edge.adapter.memory import HeadOnly, Memory
from rep_edge.config import AdapterConfig, Config, SwinConfig
from rep_edge.encoders.base import Encoder
from rep_edge.encoders.swin import SwinEncoder
from rep_edge.errors import InputError
from rep_edge.fusion import HEADS, FusionHead
from rep_edge.signals import Pattern, WindowSpec


class ModelOutput(NamedTuple):
    """logits: [B, classes]; orthogonality: scalar, eq. 6 (0 for memories without it)."""

    logits: Tensor
    orthogonality: Tensor


class RepModel(nn.Module):
    """Raw windows to logits.

    stage "backbone": a missing modality's placeholder goes through its tower and is fused like any other (the plain
    model). stage "adapted": the memory decides what runs; a missing modality is left out of the fusion where
    `zero_missing` says so.
    """

    def __init__(self, config: Config, labels: Sequence[str]) -> None:
        super().__init__()
        self.config, self.labels = config, tuple(labels)
        self.spec: WindowSpec = config.signals
        self.stage: Literal["backbone", "adapted"] = "backbone"
        self.encoders = nn.ModuleDict(
            {m.name: SwinEncoder(m, config.frontend, config.encoder) for m in self.spec.modalities}
        )
        self.memory: Memory = HeadOnly(self.spec.names, zero_missing=False)
        self.head = FusionHead(self.spec.names, config.encoder.feature_width, len(self.labels))

    def forward(self, windows: Mapping[str, Tensor], pattern: Pattern) -> ModelOutput:
        """windows: float32 [B, channels, samples] at least for the live modalities; others are not looked at."""
        tokens = {
            name: self.encoder(name).embed(windows[name] if name in pattern else self.placeholder(name))
            for name in self.memory.towers(pattern)
        }
        features = self.memory(self._towers(), tokens, pattern)
        return ModelOutput(self.head(features.by_modality), features.orthogonality)

    def encoder(self, name: str) -> Encoder:
        return cast("Encoder", self.encoders[name])

    def placeholder(self, name: str) -> Tensor:
        """The constant window [1, channels, samples] that stands for a missing modality."""
        modality = self.spec[name]
        return torch.full((1, *modality.shape), modality.placeholder, device=self.head.classifier.weight.device)

    def _towers(self) -> dict[str, Encoder]:
        return {name: self.encoder(name) for name in self.spec.names}

    def attach_adapter(self, config: AdapterConfig) -> None:
        """Freeze the towers and put the memory between them and the head, which goes on from the backbone's."""
        self.memory = build_memory(self._towers(), self.spec, config)
        self.config = msgspec.structs.replace(self.config, adapter=config)
        self.stage = "adapted"
        self.train_only("adapter")

    def prepare(self, windows: Mapping[str, Tensor]) -> None:
        """Start learned buffers from some training windows, all modalities live."""
        with torch.no_grad():
            self.memory.prepare(
                self._towers(), {name: self.encoder(name).embed(windows[name]) for name in self.spec.names}
            )

    def train_only(self, trainable: Literal["adapter", "matched", "everything"], matched_parameters: int = 0) -> None:
        """Choose what learns: memory and head, and for the rivals also towers.

        "matched": tower parameters as well, from the pooled end downwards, as many as fit into `matched_parameters`.
        """
        self.encoders.requires_grad_(trainable == "everything")
        if trainable == "matched":
            self._thaw(matched_parameters)
        self.train(self.training)

    def _thaw(self, count: int) -> None:
        """From the pooled end of every tower downwards, turn by turn; a tensor larger than what is left is skipped."""
        for row in zip_longest(*(self.encoder(name).from_pooled_end() for name in self.spec.names)):
            for parameter in row:
                if parameter is not None and parameter.numel() <= count:
                    parameter.requires_grad_(True)
                    count -= parameter.numel()

    def train(self, mode: bool = True) -> RepModel:
        """Training mode for what learns; a frozen tower stays in evaluation mode."""
        super().train(mode)
        for tower in self.encoders.values():
            if not any(p.requires_grad for p in tower.parameters()):
                tower.eval()
        return self


def build_model(config: Config, labels: Sequence[str]) -> RepModel:
    """A backbone with fresh weights. Raises InputError where the configuration does not make one."""
    _check_encoder(config.encoder, config.signals.names)
    if len(labels) < 2:
        raise InputError(f"labels: at least two classes are needed, not {list(labels)}")
    try:
        return RepModel(config, labels)
    except ValueError as error:
        raise InputError(f"signals and frontend do not fit: {error}") from error


def _check_encoder(encoder: SwinConfig, names: Sequence[str]) -> None:
    lacking = [name for name in names if name not in encoder.patch_bins]
    if lacking:
        raise InputError(f"encoder: patch_bins has no entry for {', '.join(lacking)}; add one")
    if not encoder.widths or len(encoder.widths) != len(encoder.depths):
        raise InputError("encoder: widths and depths must have one entry for each stage")
    sizes = (*encoder.patch_bins.values(), *encoder.widths, *encoder.depths, encoder.heads, encoder.window)
    if min(sizes) < 1:
        raise InputError("encoder: patch_bins, widths, depths, heads and window must all be at least 1")
    if any(width % encoder.heads for width in encoder.widths):
        raise InputError(f"encoder: widths {encoder.widths} must be divisible by heads {encoder.heads}")
    if encoder.feature_width < 1 or encoder.feature_width % HEADS:
        raise InputError(f"encoder: feature_width must be a multiple of {HEADS}, not {encoder.feature_width}")
