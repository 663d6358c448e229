"""A backbone small enough to be written twice: once as an Encoder, once as the reference's Tower in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import msgspec
import numpy as np
import torch
from reference import Array, Map, Tower, gelu, layer_norm
from torch import Tensor, nn

from rep_edge.config import AdapterConfig
from rep_edge.encoders.base import Beside, Embedded, Encoder, Keep
from rep_edge.signals import Stream, WindowSpec

STEPS, MERGE = 4, 2
TOKENS, PER_TOKEN, FEATURE = 12, 5, 7
WIDTHS = {"acoustic": (6, 8), "seismic": (4, 10), "magnetic": (8, 6)}


class ToyEncoder(Encoder):
    """Blocks that mix by the mean over slots and tokens; before block 2 neighbouring tokens are averaged and every row
    gets a new width."""

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        self.steps, self.feature_width, self.widths = STEPS, FEATURE, widths
        self.patch = _matrix(PER_TOKEN, widths[0])
        self.position = _matrix(TOKENS, widths[0])
        self.merge = _matrix(*widths)
        self.own = nn.ParameterList(_matrix(self.width(k), self.width(k)) for k in range(STEPS))
        self.mixed = nn.ParameterList(_matrix(self.width(k), self.width(k)) for k in range(STEPS))
        self.project = _matrix(TOKENS // 2 * widths[1], FEATURE)

    def width(self, k: int) -> int:
        return self.widths[k >= MERGE]

    def embed(self, window: Tensor) -> Embedded:
        return Embedded((window.reshape(-1, TOKENS, PER_TOKEN) @ self.patch + self.position).tanh())

    def advance(self, k: int, sequence: Tensor, lead: int) -> Tensor:
        if k != MERGE:
            return sequence
        tokens = sequence[:, lead:]
        return torch.cat([sequence[:, :lead], (tokens[:, ::2] + tokens[:, 1::2]) / 2], dim=1) @ self.merge

    def widen(self, k: int, rows: Tensor) -> Tensor:
        return rows @ self.merge if k == MERGE else rows

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        values = sequence @ self.mixed[k]
        if fixed is not None:
            values = torch.cat([fixed.expand(len(values), -1, -1), values], dim=1)
        out = sequence + torch.tanh(sequence @ self.own[k] + values.mean(dim=1, keepdim=True))
        return {"all": out, "tokens": out[:, lead:], "slots": out[:, :lead]}[keep]

    def remember(self, k: int, rows: Tensor) -> Tensor:
        kept: Tensor = rows @ self.mixed[k]
        return kept

    def pool(self, tokens: Tensor, beside: Beside = ()) -> Tensor:
        feature: Tensor = tokens.flatten(1) @ self.project
        return feature


def tower_of(encoder: ToyEncoder) -> Tower:
    """The same backbone in numpy."""
    patch, position, merge, project = map(array, (encoder.patch, encoder.position, encoder.merge, encoder.project))
    own, mixed = [array(m) for m in encoder.own], [array(m) for m in encoder.mixed]

    def advance(k: int, rows: Array, lead: int) -> Array:
        if k != MERGE:
            return rows
        tokens = rows[:, lead:].reshape(len(rows), TOKENS // 2, 2, -1).mean(2)
        advanced: Array = np.concatenate([rows[:, :lead], tokens], axis=1) @ merge
        return advanced

    def step(k: int, rows: Array) -> Array:
        out: Array = rows + np.tanh(rows @ own[k] + (rows @ mixed[k]).mean(1, keepdims=True))
        return out

    return Tower(
        steps=STEPS,
        embed=lambda window: np.asarray(np.tanh(window.reshape(-1, TOKENS, PER_TOKEN) @ patch + position)),
        advance=advance,
        widen=lambda k, rows: rows @ merge if k == MERGE else rows,
        step=step,
        pool=lambda tokens: tokens.reshape(len(tokens), -1) @ project,
    )


def toys(count: int) -> tuple[WindowSpec, dict[str, ToyEncoder]]:
    """A window specification of `count` modalities and their frozen towers, in double precision."""
    torch.manual_seed(count)
    names = list(WIDTHS)[:count]
    modalities = tuple(Stream(name=n, rate_hz=TOKENS * PER_TOKEN, samples=TOKENS * PER_TOKEN) for n in names)
    encoders = {name: ToyEncoder(WIDTHS[name]).double().requires_grad_(False) for name in names}
    return WindowSpec(modalities=modalities, hop_s=1.0), encoders


def windows_of(spec: WindowSpec, live: frozenset[str], batch: int = 3) -> dict[str, Tensor]:
    """Random windows of the live modalities, the placeholder [1, 1, samples] of the others."""
    generator = torch.Generator().manual_seed(len(live))
    return {
        m.name: torch.randn(batch, *m.shape, generator=generator, dtype=torch.float64)
        if m.name in live
        else torch.full((1, *m.shape), m.placeholder, dtype=torch.float64)
        for m in spec.modalities
    }


def randomised(memory: nn.Module) -> None:
    """Every parameter random, so that no part stands at a start that hides it."""
    for parameter in memory.parameters():
        nn.init.normal_(parameter, std=0.5)
    memory.double().eval()


def repeated(windows: dict[str, Tensor]) -> dict[str, Array]:
    """As numpy, a placeholder repeated to the others' batch."""
    batch = max(len(window) for window in windows.values())
    return {name: array(window.expand(batch, -1, -1)) for name, window in windows.items()}


def array(tensor: Tensor) -> Array:
    return cast("Array", tensor.detach().double().numpy())


def linear(layer: nn.Module) -> Map:
    weight, bias = array(cast("Tensor", layer.weight)), layer.bias
    return lambda rows: rows @ weight.T + (0.0 if bias is None else array(cast("Tensor", bias)))


def norm(layer: nn.Module) -> Map:
    return lambda rows: layer_norm(rows, array(cast("Tensor", layer.weight)), array(cast("Tensor", layer.bias)))


def two_layers(layers: Sequence[nn.Module]) -> Map:
    """Linear, GELU, Linear."""
    return lambda rows: linear(layers[2])(gelu(linear(layers[0])(rows)))


def small(memory: Literal["fed", "learned", "prompts", "none"], **changes: object) -> AdapterConfig:
    """Small buffers over all blocks, with some fields changed."""
    config = AdapterConfig(memory=memory, slots=6, depth=STEPS, bottleneck=5, shared_width=3)
    return msgspec.structs.replace(config, **changes)


def _matrix(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, columns) * rows**-0.5)
