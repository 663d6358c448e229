"""The memory of the released code: learned buffers, refined from block to block by small networks, independent of the
input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from rep_edge.adapter.cache import Levels
from rep_edge.adapter.equations import noise, unit_rows, update
from rep_edge.adapter.memory import Encoders, Features, Memory, build_reader, heard, lead_in, no_penalty, scalar
from rep_edge.config import AdapterConfig
from rep_edge.encoders.base import Embedded, Encoder, join
from rep_edge.signals import Pattern, WindowSpec

DROPOUT = 0.1
QUERY_STD = 0.02
HERE, AWAY = "present", "missing"


class ResidualMap(nn.Module):
    """R(x) = Linear(GELU(LayerNorm(Linear(x)))) + Linear(x), with dropout before the last one: [..., a] -> [..., b]."""

    def __init__(self, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(width_in, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(hidden, width_out),
        )
        self.skip = nn.Linear(width_in, width_out)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.body(x) + self.skip(x)
        return mapped


class TokenAttention(nn.Module):
    """One head: out(softmax(q(queries) k(tokens)^T / sqrt(d)) v(tokens)).

    Written so that nothing is computed per token but the two products with it: the key map goes to the queries' side
    (its bias would not change a softmax), and the value map behind the average, because weights add up to one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.out: nn.Module = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.scale = width**-0.5

    def forward(self, queries: Tensor, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
        """[n, d] over [B, N, d] -> [B, n, d]. hidden: what is added to the tokens' scores [B, N]."""
        looked_for = self.query(queries) @ self.key.weight * self.scale
        scores = looked_for @ tokens.transpose(1, 2)
        weights = (scores if hidden is None else scores + hidden[:, None]).softmax(dim=-1)
        rows: Tensor = self.out(self.value(weights @ tokens))
        return rows

    def fold(self) -> None:
        """The value map and the one behind it as one: the same rows in fewer steps, for export."""
        if isinstance(self.out, nn.Linear):
            with torch.no_grad():
                self.value.bias.copy_(self.out(self.value.bias))
                self.value.weight.copy_(self.out.weight @ self.value.weight)
            self.out = nn.Identity()


class LearnedTower(nn.Module):
    """One modality's rows and maps.

    start: private rows for each of the states "present" and "missing" that occur [L / 3, d]; stages: R of every block
    with replay, of `concatenated` width; entry: R of the shared rows; queries: [L / 3, d] for each of the patterns in
    which the tower `runs`, which attend over the tokens that the slots meet first.
    """

    def __init__(
        self, encoder: Encoder, concatenated: list[int], states: Iterable[str], runs: list[str], config: AdapterConfig
    ) -> None:
        super().__init__()
        rows, width = config.slots // 3, encoder.width(config.first)
        if config.private_buffer:
            self.start = nn.ParameterDict(
                {state: nn.Parameter(config.noise * unit_rows(config.noise_type, rows, width)) for state in states}
            )
            self.stages = nn.ModuleList(
                ResidualMap(total, config.bottleneck, encoder.width(config.first + j))
                for j, total in enumerate(concatenated)
            )
        if config.shared_buffer:
            self.entry = ResidualMap(config.shared_width, config.bottleneck, width)
        if config.dynamic_initialisation:
            self.queries = nn.ParameterDict({name: nn.Parameter(QUERY_STD * torch.randn(rows, width)) for name in runs})
            self.attention = TokenAttention(width)
            for parameter in (*self.queries.parameters(), *self.attention.parameters()):
                parameter.requires_grad_(config.train_dynamic)

    def dynamic_rows(self, tokens: Tensor, pattern: str, hidden: Tensor | None) -> Tensor:
        """The pattern's queries over the tokens: [B, N, d] -> [B, L / 3, d]."""
        rows: Tensor = self.attention(self.queries[pattern], tokens, hidden)
        return rows


class LearnedMemory(Memory):
    """REP as its public code has it: private rows replaced before every block, shared and dynamic rows carried along.

    Nothing of the replay depends on the input, so that in an exported graph each private row is a constant of which
    only keys and values remain; towers are independent of each other, and a missing modality's tower is not run.
    """

    def __init__(self, encoders: Encoders, spec: WindowSpec, config: AdapterConfig) -> None:
        super().__init__()
        self.config, self.names = config, spec.names
        self.pattern_name = spec.pattern_name
        # Without replay the private rows enter once and no later stage of theirs exists.
        self.stages = config.depth if config.replay else 1
        blocks = range(config.first, config.first + self.stages)
        concatenated = [sum(encoder.width(k) for encoder in encoders.values()) for k in blocks]
        self.per_tower = nn.ModuleDict()
        for name, encoder in encoders.items():
            states = dict.fromkeys(HERE if name in pattern else AWAY for pattern in spec.patterns())
            runs = [spec.pattern_name(pattern) for pattern in spec.patterns() if name in self.towers(pattern)]
            self.per_tower[name] = LearnedTower(encoder, concatenated, states, runs, config)
        if config.private_buffer:
            self.norms = nn.ModuleList(nn.LayerNorm(total) for total in concatenated)
            if self.stages > 1:
                self.mix = scalar(0.5)
        rows = config.slots // 3
        if config.shared_buffer:
            start = {
                spec.pattern_name(pattern): unit_rows(config.noise_type, rows, config.shared_width)
                for pattern in spec.patterns()
            }
            self.shared = nn.ParameterDict(
                {name: nn.Parameter(x + config.noise * noise(config.noise_type, x.shape)) for name, x in start.items()}
            )
        carried = rows * (config.shared_buffer + config.dynamic_initialisation)
        self.readers = nn.ModuleDict(
            {
                name: build_reader(config, carried, encoder.width(encoder.steps - 1), encoder.feature_width)
                for name, encoder in encoders.items()
                if carried and config.read_slots
            }
        )

    def towers(self, pattern: Pattern) -> Iterable[str]:
        return heard(self.names, pattern, self.config.zero_missing)

    def fold(self) -> None:
        super().fold()
        for name in self.names:
            if self.config.dynamic_initialisation:
                self._tower(name).attention.fold()

    def prepare(self, encoders: Encoders, embedded: Mapping[str, Embedded]) -> None:
        """Private rows start at the tower's typical token where they enter plus the noise they were drawn with."""
        super().prepare(encoders, embedded)
        with torch.no_grad():
            for name, window in embedded.items():
                if self.config.private_buffer:
                    nothing = Levels(encoders[name], None)
                    typical = encoders[name].typical(lead_in(encoders[name], window, self.config.first, nothing))
                    for rows in self._tower(name).start.values():
                        rows += typical

    def forward(self, encoders: Encoders, embedded: Mapping[str, Embedded], pattern: Pattern) -> Features:
        private = self.private_rows(encoders, pattern) if self.config.private_buffer else []
        features = {
            name: self._through(name, encoders[name], window, [rows[name] for rows in private], pattern)
            for name, window in embedded.items()
        }
        return Features(features, no_penalty(embedded))

    def private_rows(self, encoders: Encoders, pattern: Pattern) -> list[dict[str, Tensor]]:
        """The private buffers of every block with replay: P_k = a R_k(LayerNorm([P | ... | P]_k-1)) + (1 - a) P_k-1.

        At the first block the buffers are R_0 of the learned starts alone. Each is [1, L / 3, width(k)].
        """
        held = {name: self._tower(name).start[HERE if name in pattern else AWAY][None] for name in self.names}
        blocks: list[dict[str, Tensor]] = []
        for j, norm in enumerate(self.norms):
            if j:
                held = {name: encoders[name].widen(self.config.first + j, rows) for name, rows in held.items()}
            joined = norm(torch.cat([held[name] for name in self.names], dim=-1))
            news = {name: self._tower(name).stages[j](joined) for name in self.names}
            held = {name: update(held[name], rows, self.mix) if j else rows for name, rows in news.items()}
            blocks.append(held)
        return blocks

    def _through(
        self, name: str, encoder: Encoder, embedded: Embedded, private: list[Tensor], pattern: Pattern
    ) -> Tensor:
        """One tower, embedded window to feature. Private rows that the next block replaces are keys and values only."""
        first, last = self.config.first, encoder.steps - 1
        levels = self.levels(name, encoder)
        tokens = lead_in(encoder, embedded, first, levels)
        entering = self._entering(name, tokens, encoder.hidden(embedded.beside), pattern)
        sequence = join([*entering, tokens])
        lead = carried = sequence.shape[1] - tokens.shape[1]
        joins = first + self.stages - 1
        for k in range(first, encoder.steps):
            if k > first:
                sequence = encoder.advance(k, sequence, lead)
            fixed = None
            if private and k == joins and k < last:
                sequence = join([private[k - first], sequence])
                lead += private[k - first].shape[1]
            elif private and k <= joins:
                fixed = encoder.remember(k, private[k - first])
            read = k < last or name in self.readers
            sequence = encoder.step(k, sequence, lead, fixed, "all" if read else "tokens", embedded.beside)
            lead = lead if read else 0
            levels.take(k, sequence[:, lead:], embedded.beside)
        feature = levels.added_to(encoder.pool(sequence[:, lead:], embedded.beside))
        return feature + self.readers[name](sequence[:, lead - carried : lead]) if name in self.readers else feature

    def _entering(self, name: str, tokens: Tensor, hidden: Tensor | None, pattern: Pattern) -> list[Tensor]:
        """What enters before the tokens and is carried: shared rows [1, L / 3, d], then dynamic ones [B, L / 3, d]."""
        rows = []
        if self.config.shared_buffer:
            rows.append(self._tower(name).entry(self.shared[self.pattern_name(pattern)])[None])
        if self.config.dynamic_initialisation:
            rows.append(self._tower(name).dynamic_rows(tokens, self.pattern_name(pattern), hidden))
        return rows

    def _tower(self, name: str) -> LearnedTower:
        return cast("LearnedTower", self.per_tower[name])
