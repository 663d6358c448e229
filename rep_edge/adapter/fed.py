"""The memory of the paper's equations: buffers fed by the blocks' own outputs and replayed into the next ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from rep_edge.adapter.cache import Levels
from rep_edge.adapter.equations import orthogonality, replay, start_private, unit_rows, update
from rep_edge.adapter.memory import (
    Encoders,
    Features,
    Memory,
    bottleneck,
    build_reader,
    heard,
    lead_in,
    no_penalty,
    scalar,
)
from rep_edge.config import AdapterConfig
from rep_edge.encoders.base import Beside, Embedded, Encoder, Keep, cut, join, of_one_batch
from rep_edge.signals import Pattern, WindowSpec


class TowerMaps(nn.Module):
    """One modality's learned maps, one set per block with replay: Theta_m, G_m, the scalars and the norm of eq. 7.

    alpha: logit of a_m; beta_private, beta_shared: strengths of the replay. Only what the buffers in use need exists.
    kept: 1 - a_m, once the other scalars are folded into the maps; None before.
    """

    beta_shared: nn.Parameter | float
    kept: Tensor | None = None

    def __init__(self, widths: list[int], config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.ModuleList(nn.LayerNorm(d) for d in widths)
        if config.private_buffer:
            self.g = nn.ModuleList(bottleneck(d, config.bottleneck, d) for d in widths)
            self.alpha, self.beta_private = scalar(0.0), scalar(0.5)
        if config.shared_buffer:
            # Without replay, maps behind the first block serve eq. 6 alone, which reads their weights.
            self.theta = nn.ModuleList(
                nn.Linear(config.shared_width, d, bias=config.replay or j == 0)
                for j, d in enumerate(widths)
                if config.replay or j == 0 or compares(config)
            )
            self.beta_shared = scalar(0.5)

    def refined(self, j: int, out: Tensor, buffer: Tensor) -> Tensor:
        """Eq. 7: the private buffer after the j-th block with replay, from its normed slots."""
        news: Tensor = self.g[j](out)
        return update(buffer, news, self.alpha.sigmoid()) if self.kept is None else news + self.kept * buffer

    def fold(self) -> None:
        """a_m into the last layer of G_m, beta_s into Theta_m: the same pass in fewer steps, for export."""
        with torch.no_grad():
            if self.config.private_buffer and self.kept is None:
                rate = self.alpha.sigmoid()
                for g in self.g:
                    _scale(cast("nn.Linear", cast("nn.Sequential", g)[-1]), rate)
                self.kept = 1 - rate
            if self.config.shared_buffer and isinstance(self.beta_shared, nn.Parameter):
                for theta in self.theta:
                    _scale(cast("nn.Linear", theta), self.beta_shared)
                del self.beta_shared
                self.beta_shared = 1.0


def _scale(layer: nn.Linear, factor: Tensor | float) -> None:
    layer.weight.mul_(factor)
    if layer.bias is not None:
        layer.bias.mul_(factor)


def compares(config: AdapterConfig) -> bool:
    """Whether eq. 6 is part of the loss: it needs both kinds of buffers and a weight."""
    return config.private_buffer and config.shared_buffer and config.orthogonality > 0


@dataclass
class State:
    """Where a forward pass stands: by modality what its cache took, what its blocks look up, sequences [B, lead + N, d]
    and private buffers [B, L / 2, d]; the shared buffer [B, L / 2, d_s]. A batch of 1 stands for one that does not
    depend on the windows yet."""

    levels: dict[str, Levels]
    beside: dict[str, Beside]
    sequences: dict[str, Tensor]
    private: dict[str, Tensor]
    shared: Tensor | None


class FedMemory(Memory):
    """REP as the paper states it (eq. 5 to 11), for any number of modalities.

    All towers advance together through the blocks with replay, because the shared buffer couples them; a missing
    modality takes part through its placeholder. Buffers not configured leave their slots out. The head reads the last
    buffers. Eq. 6 is computed where its weight is above 0. Private buffers start from all tokens, pooled into a number
    of rows, so that nothing may be cut off.
    """

    trims = False

    def __init__(self, encoders: Encoders, spec: WindowSpec, config: AdapterConfig) -> None:
        super().__init__()
        self.config, self.names = config, spec.names
        self.pattern_name = spec.pattern_name
        self.rows = config.slots // 2
        self.lead = self.rows * (config.private_buffer + config.shared_buffer)
        blocks = range(config.first, config.first + config.depth)
        widths = {name: [encoder.width(k) for k in blocks] for name, encoder in encoders.items()}
        self.maps = nn.ModuleDict({name: TowerMaps(widths[name], config) for name in self.names})
        if config.private_buffer and not config.dynamic_initialisation:
            self.start = nn.ParameterDict(
                {name: nn.Parameter(unit_rows(config.noise_type, self.rows, widths[name][0])) for name in self.names}
            )
        if config.shared_buffer:
            starts = map(spec.pattern_name, spec.patterns()) if config.dynamic_initialisation else ["every"]
            self.shared = nn.ParameterDict(
                {name: nn.Parameter(unit_rows(config.noise_type, self.rows, config.shared_width)) for name in starts}
            )
            self.epsilon = scalar(0.0)
            self.h = nn.ModuleList(
                nn.Sequential(nn.Linear(sum(w[j] for w in widths.values()), config.shared_width), nn.GELU())
                for j in range(config.depth)
            )
        feature = {name: encoder.feature_width for name, encoder in encoders.items()}
        if config.private_buffer:
            self.read_private = nn.ModuleDict(
                {name: build_reader(config, self.rows, widths[name][-1], feature[name]) for name in self.names}
            )
        if config.shared_buffer:
            self.read_shared = nn.ModuleDict(
                {name: build_reader(config, self.rows, config.shared_width, feature[name]) for name in self.names}
            )

    def towers(self, pattern: Pattern) -> Iterable[str]:
        return self.names

    def forward(self, encoders: Encoders, embedded: Mapping[str, Embedded], pattern: Pattern) -> Features:
        levels = {name: self.levels(name, encoders[name]) for name in self.names}
        sequences = {n: lead_in(encoders[n], embedded[n], self.config.first, levels[n]) for n in self.names}
        state = State(
            levels=levels,
            beside={name: embedded[name].beside for name in self.names},
            sequences=sequences,
            private={n: self._start_private(n, sequences[n]) for n in self.names} if self.config.private_buffer else {},
            shared=self._start_shared(pattern) if self.config.shared_buffer else None,
        )
        penalty = no_penalty(embedded)
        fused = heard(self.names, pattern, self.config.zero_missing)
        for j in range(self.config.depth):
            for name, encoder in encoders.items():
                self._replay(name, j, encoder, state)
                # Of a tower that the head does not hear, the last update alone reads the last block.
                keep: Keep = "all" if name in fused or j < self.config.depth - 1 else "slots"
                k = self.config.first + j
                state.sequences[name] = encoder.step(
                    k, state.sequences[name], self.lead, keep=keep, beside=state.beside[name]
                )
                if name in fused:
                    state.levels[name].take(k, state.sequences[name][:, self.lead :], state.beside[name])
            self._update(j, state)
            if state.shared is not None and compares(self.config):
                penalty = penalty + self._orthogonality(j, state.private, state.shared)
        return Features({name: self._feature(name, encoders[name], state) for name in fused}, penalty)

    def fold(self) -> None:
        super().fold()
        for name in self.names:
            self._maps(name).fold()

    def _start_private(self, name: str, tokens: Tensor) -> Tensor:
        """Eq. 10; without dynamic initialisation learned rows."""
        if not self.config.dynamic_initialisation:
            rows: Tensor = self.start[name]
            return rows[None]
        return start_private(tokens, self.rows, self.config.noise if self.training else 0.0, self.config.noise_type)

    def _start_shared(self, pattern: Pattern) -> Tensor:
        """Eq. 11: the learned start of this pattern [1, L / 2, d_s]."""
        rows: Tensor = self.shared[self.pattern_name(pattern) if self.config.dynamic_initialisation else "every"]
        return rows[None]

    def _replay(self, name: str, j: int, encoder: Encoder, state: State) -> None:
        """Sequence and private buffer to the width of the j-th block with replay, and the buffers into the slots.

        Shared slots stand first. Eq. 5 before the first of these blocks, eq. 9 before the others.
        """
        k, sequence, maps = self.config.first + j, state.sequences[name], self._maps(name)
        if j:
            sequence = encoder.advance(k, sequence, self.lead)
            if state.private:
                state.private[name] = encoder.widen(k, state.private[name])
        if j and not self.config.replay:
            state.sequences[name] = sequence
            return
        buffers = []
        if state.shared is not None:
            buffers.append((maps.beta_shared, maps.theta[j](state.shared)))
        if state.private:
            buffers.append((maps.beta_private, state.private[name]))
        *slots_out, tokens = cut(sequence, [self.rows] * len(buffers)) if j else [sequence]
        held: list[Tensor | None] = [*slots_out] or [None] * len(buffers)
        parts = [replay(slots, *buffer) for slots, buffer in zip(held, buffers, strict=True)]
        state.sequences[name] = join([*parts, tokens])

    def _update(self, j: int, state: State) -> None:
        """Eq. 7 for every tower, then eq. 8. Without private buffers the shared slots' outputs feed the shared one."""
        news = {}
        for name in self.names:
            maps = self._maps(name)
            out = maps.norm[j](state.sequences[name][:, self.lead - self.rows : self.lead])
            if name in state.private:
                out = state.private[name] = maps.refined(j, out, state.private[name])
            news[name] = out
        if state.shared is not None:
            joined = torch.cat(of_one_batch(list(news.values())), dim=-1)
            state.shared = update(state.shared, self.h[j](joined), self.epsilon.sigmoid())

    def _orthogonality(self, j: int, private: Mapping[str, Tensor], shared: Tensor) -> Tensor:
        """Eq. 6 in the shared width, where towers of different widths can be compared: F_p Theta_m and F_s."""
        projected = [private[name] @ cast("nn.Linear", self._maps(name).theta[j]).weight for name in self.names]
        return orthogonality([shared, *projected])

    def _feature(self, name: str, encoder: Encoder, state: State) -> Tensor:
        """The rest of the tower, slots carried along, and what the last buffers add, so that their update is read."""
        sequence, lead, beside = state.sequences[name], self.lead, state.beside[name]
        for k in range(self.config.first + self.config.depth, encoder.steps):
            keep: Keep = "all" if k < encoder.steps - 1 else "tokens"
            sequence = encoder.step(k, encoder.advance(k, sequence, lead), lead, keep=keep, beside=beside)
            lead = lead if keep == "all" else 0
            state.levels[name].take(k, sequence[:, lead:], beside)
        feature = state.levels[name].added_to(encoder.pool(sequence[:, lead:], beside))
        if state.private:
            feature = feature + self.read_private[name](state.private[name])
        if state.shared is not None:
            feature = feature + self.read_shared[name](state.shared)
        return feature

    def _maps(self, name: str) -> TowerMaps:
        return cast("TowerMaps", self.maps[name])
