"""The whole classifier: towers, memory and head, for any pattern of live modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple, TypeAlias, cast

import msgspec
import torch
from torch import Tensor, nn

from rep_edge.adapter.choice import build_memory
from rep_edge.adapter.memory import HeadOnly, Memory
from rep_edge.config import AdapterConfig, Config, EncoderConfig, MultConfig, SwinConfig
from rep_edge.encoders.base import Embedded, Encoder
from rep_edge.encoders.choice import build_encoders, starting_encoders, tokenizers_of
from rep_edge.errors import InputError
from rep_edge.fusion import FusionHead, LinearHead, ResidualHead
from rep_edge.hub import HubModel, Origin
from rep_edge.signals import Pattern, WindowSpec
from rep_edge.tasks import TASKS

Trainable: TypeAlias = Literal["head", "adapter", "matched", "everything"]


class ModelOutput(NamedTuple):
    """logits: [B, classes]; orthogonality: scalar, eq. 6 (0 for memories without it)."""

    logits: Tensor
    orthogonality: Tensor


class RepModel(HubModel, nn.Module):
    """Windows to logits, or to a value.

    stage "backbone": a missing modality's placeholder goes through its tower and is fused like any other (the plain
    model). stage "adapted": the memory decides what runs; a missing modality is left out of the fusion where
    `zero_missing` says so.

    tokenizers: by text modality, the definition (tokenizer.json) of what makes its windows of texts.
    """

    def __init__(
        self, config: Config, labels: Sequence[str], encoders: Mapping[str, Encoder], tokenizers: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.config, self.labels = config, tuple(labels)
        self.spec: WindowSpec = config.signals
        self.stage: Literal["backbone", "adapted"] = "backbone"
        self.task = TASKS[config.task]
        self.metric = self.task.headline(config.metric)
        self.tokenizers = dict(tokenizers)
        self.encoders = nn.ModuleDict(dict(encoders))
        self.memory: Memory = HeadOnly(self.spec.names, zero_missing=False)
        self.head = build_head(config.encoder, encoders, self.task.outputs(self.labels))

    def forward(self, windows: Mapping[str, Tensor], pattern: Pattern) -> ModelOutput:
        """windows: [B, *shape of the modality] at least for the live modalities; others are not looked at."""
        wanted = self.memory.towers(pattern)
        features = self.memory(self._towers(), self._embed(windows, pattern, wanted), pattern)
        return ModelOutput(self.head(features.by_modality), features.orthogonality)

    def _embed(self, windows: Mapping[str, Tensor], live: Pattern, wanted: Iterable[str]) -> dict[str, Embedded]:
        """The wanted towers' tokens, together with those of other modalities that they look at."""
        towers = {name: self.encoder(name) for name in wanted}
        names = dict.fromkeys([*towers, *(source for tower in towers.values() for source in tower.sources)])
        own = {
            name: self.encoder(name).embed(windows[name] if name in live else self.placeholder(name)) for name in names
        }
        return {
            name: tower.meet(own[name], {source: own[source] for source in tower.sources})
            for name, tower in towers.items()
        }

    def encoder(self, name: str) -> Encoder:
        return cast("Encoder", self.encoders[name])

    def placeholder(self, name: str) -> Tensor:
        """The constant window [1, *shape] that stands for a missing modality."""
        return torch.from_numpy(self.spec[name].blank())[None].to(next(self.parameters()).device)

    def _towers(self) -> dict[str, Encoder]:
        return {name: self.encoder(name) for name in self.spec.names}

    def attach_adapter(self, config: AdapterConfig) -> None:
        """Freeze the towers and put the memory between them and the head, which goes on from the backbone's."""
        self.memory = build_memory(self._towers(), self.spec, config)
        self.config = msgspec.structs.replace(self.config, adapter=config)
        self.stage = "adapted"
        self.origin = Origin()
        self.train_only("adapter")

    def prepare(self, windows: Mapping[str, Tensor]) -> None:
        """Start learned buffers from some training windows, all modalities live."""
        with torch.no_grad():
            embedded = self._embed(windows, self.spec.complete, self.spec.names)
            self.memory.prepare(self._towers(), embedded)

    def train_only(self, trainable: Trainable, matched_parameters: int = 0) -> None:
        """Choose what learns: memory and head, and with "everything" or "matched" also towers.

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


def build_model(config: Config, labels: Sequence[str], tokenizers: Mapping[str, str] | None = None) -> RepModel:
    """A backbone with fresh weights. tokenizers: of its texts; None: those that the configuration names.

    Raises InputError where the configuration does not make one.
    """
    _check(config, labels)
    return RepModel(config, labels, build_encoders(config), _tokenizers(config, tokenizers))


def starting_model(config: Config, labels: Sequence[str], tokenizers: Mapping[str, str] | None = None) -> RepModel:
    """The backbone that training starts from: as `build_model`, with the weights that CLIP was trained to."""
    _check(config, labels)
    return RepModel(config, labels, starting_encoders(config), _tokenizers(config, tokenizers))


def _tokenizers(config: Config, given: Mapping[str, str] | None) -> Mapping[str, str]:
    return tokenizers_of(config) if given is None else given


def _check(config: Config, labels: Sequence[str]) -> None:
    if len(labels) < 2:
        raise InputError(f"labels: at least two classes are needed, not {list(labels)}")
    TASKS[config.task].headline(config.metric)


def build_head(config: EncoderConfig, towers: Mapping[str, Encoder], outputs: int) -> nn.Module:
    """The head that belongs to an encoder: FOCAL's attention, MulT's residual network, or one linear map."""
    widths = {name: tower.feature_width for name, tower in towers.items()}
    if isinstance(config, SwinConfig):
        return FusionHead(tuple(widths), config.feature_width, outputs)
    if isinstance(config, MultConfig):
        return ResidualHead(widths, outputs, config.output_dropout)
    return LinearHead(widths, outputs)
