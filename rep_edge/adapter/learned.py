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
    only keys and values remain; in a causal tower the shared rows are too, because they stand in front of all tokens
    there. Towers are independent of each other, and a missing modality's tower is not run.
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
        """One tower, embedded window to feature. Rows that stand outside the sequence are keys and values only."""
        first, last = self.config.first, encoder.steps - 1
        levels = self.levels(name, encoder)
        tokens = lead_in(encoder, embedded, first, levels)
        shared = self._shared_rows(name, pattern)
        carried = self._dynamic_rows(name, tokens, encoder.hidden(embedded.beside), pattern)
        if encoder.causal:
            outside, joins = self._ahead(encoder, private, shared), encoder.steps
        else:
            # A private row that the next block replaces is read by nobody.
            outside, joins = private, first + self.stages - 1
            carried = [*shared, *carried]
        sequence = join([*carried, tokens])
        lead = rows = sequence.shape[1] - tokens.shape[1]
        for k in range(first, encoder.steps):
            if k > first:
                sequence = encoder.advance(k, sequence, lead)
            fixed = None
            if outside and k == joins and k < last:
                sequence = join([outside[k - first], sequence])
                lead += outside[k - first].shape[1]
            elif outside and k <= joins:
                fixed = encoder.remember(k, outside[k - first])
            read = k < last or name in self.readers
            sequence = encoder.step(k, sequence, lead, fixed, "all" if read else "tokens", embedded.beside)
            lead = lead if read else 0
            levels.take(k, sequence[:, lead:], embedded.beside)
        feature = levels.added_to(encoder.pool(sequence[:, lead:], embedded.beside))
        if name not in self.readers:
            return feature
        left = [sequence[:, lead - rows : lead]]
        if encoder.causal and shared:
            left = [outside[-1][:, -shared[0].shape[1] :], *left]
        offset: Tensor = self.readers[name](join(left))
        return feature + offset

    def _ahead(self, encoder: Encoder, private: list[Tensor], shared: list[Tensor]) -> list[Tensor]:
        """Private and shared rows that go through the blocks without the tokens, as every block takes them and as the
        last one leaves them, [1, n, width(k)] each. Private ones are replaced before each block with replay."""
        if not (private or shared):
            return []
        first, third = self.config.first, self.config.slots // 3
        rows = join([*private[:1], *shared])
        blocks = [rows]
        for k in range(first, encoder.steps):
            rows = encoder.step(k, rows, rows.shape[1], keep="slots")
            if k + 1 < encoder.steps:
                rows = encoder.widen(k + 1, rows)
            if k + 1 - first < len(private):
                rows = join([private[k + 1 - first], rows[:, third:]])
            blocks.append(rows)
        return blocks

    def _shared_rows(self, name: str, pattern: Pattern) -> list[Tensor]:
        """The rows [1, L / 3, d] that the tower starts from; none without a shared buffer."""
        if not self.config.shared_buffer:
            return []
        return [self._tower(name).entry(self.shared[self.pattern_name(pattern)])[None]]

    def _dynamic_rows(self, name: str, tokens: Tensor, hidden: Tensor | None, pattern: Pattern) -> list[Tensor]:
        """The rows [B, L / 3, d] that look at the tokens first; none without them."""
        if not self.config.dynamic_initialisation:
            return []
        return [self._tower(name).dynamic_rows(tokens, self.pattern_name(pattern), hidden)]

    def _tower(self, name: str) -> LearnedTower:
        return cast("LearnedTower", self.per_tower[name])
