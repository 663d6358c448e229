"""The memory of the released code against the whole pass in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from reference import (
    Array,
    LearnedParameters,
    Map,
    Tower,
    attend,
    causal_learned_pass,
    learned_pass,
    residual_map,
    staged_buffers,
)
from torch import Tensor
from toy import ToyEncoder, array, linear, norm, randomised, repeated, small, tower_of, toys, windows_of

from rep_edge.adapter.choice import build_memory
from rep_edge.adapter.learned import LearnedMemory
from rep_edge.adapter.memory import Features
from rep_edge.config import AdapterConfig
from rep_edge.signals import Pattern, WindowSpec


def residual(layer: Any) -> Map:
    return partial(
        residual_map,
        first=linear(layer.body[0]),
        norm=norm(layer.body[1]),
        second=linear(layer.body[4]),
        skip=linear(layer.skip),
    )


def dynamic(tower: Any, pattern: str) -> Map:
    a = tower.attention
    maps = (linear(a.query), linear(a.key), linear(a.value), linear(a.out))
    return lambda tokens: attend(array(tower.queries[pattern]), tokens, *maps)


def widening(tower: Tower, first: int) -> Callable[[int, Array], Array]:
    return lambda j, rows: tower.widen(first + j, rows)


def parameters_of(
    memory: LearnedMemory, encoders: Mapping[str, ToyEncoder], spec: WindowSpec, live: Pattern
) -> LearnedParameters:
    towers: Mapping[str, Any] = dict(memory.per_tower.items())
    pattern, first = spec.pattern_name(live), memory.config.first
    stages = staged_buffers(
        start={m: array(towers[m].start["present" if m in live else "missing"]) for m in spec.names},
        norms=[norm(layer) for layer in memory.norms],
        maps={m: [residual(stage) for stage in towers[m].stages] for m in spec.names},
        widen={m: widening(tower_of(encoder), first) for m, encoder in encoders.items()},
        mix=memory.mix.item() if len(memory.norms) > 1 else 0.0,
    )
    return LearnedParameters(
        stages=stages,
        shared={m: residual(towers[m].entry)(array(memory.shared[pattern])) for m in spec.names},
        dynamic={m: dynamic(towers[m], pattern) for m in spec.names if pattern in towers[m].queries},
    )


def features_of(
    memory: LearnedMemory, encoders: Mapping[str, ToyEncoder], windows: Mapping[str, Tensor], live: Pattern
) -> dict[str, Tensor]:
    with torch.no_grad():
        tokens = {name: encoders[name].embed(windows[name]) for name in memory.towers(live)}
        features: Features = memory(encoders, tokens, live)
    return features.by_modality


def built(count: int, config: AdapterConfig) -> tuple[WindowSpec, dict[str, ToyEncoder], LearnedMemory]:
    spec, encoders = toys(count)
    memory = cast("LearnedMemory", build_memory(encoders, spec, config))
    randomised(memory)
    return spec, encoders, memory


def read(memory: LearnedMemory, feature: Array, slots: Array, name: str) -> Array:
    """The pooled feature and what the head reads of the carried two thirds of the slots."""
    if name not in memory.readers:
        return feature
    reader: Any = memory.readers[name]
    carried = slots[:, slots.shape[1] // 3 :]
    return feature + linear(reader.project)(norm(reader.norm)(carried).reshape(len(carried), -1))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("read_slots", [True, False])
@pytest.mark.parametrize(("first", "depth"), [(0, 4), (0, 1), (0, 3), (1, 2), (2, 2)])
def test_features_equal_the_released_codes_pass(count: int, read_slots: bool, first: int, depth: int) -> None:
    config = small("learned", first=first, depth=depth, zero_missing=False, read_slots=read_slots)
    spec, encoders, memory = built(count, config)
    towers = {name: tower_of(encoder) for name, encoder in encoders.items()}
    for live in spec.patterns():
        windows = windows_of(spec, live)
        found = features_of(memory, encoders, windows, live)
        p = parameters_of(memory, encoders, spec, live)
        expected = learned_pass(towers, repeated(windows), p, first, depth)
        for name in spec.names:
            wanted = read(memory, *expected[name], name)
            np.testing.assert_allclose(np.broadcast_to(array(found[name]), wanted.shape), wanted, atol=1e-8)


@pytest.mark.parametrize("read_slots", [True, False])
@pytest.mark.parametrize(("first", "depth"), [(0, 4), (0, 1), (0, 3), (1, 2), (2, 2)])
def test_in_a_causal_tower_private_and_shared_rows_hear_no_token(read_slots: bool, first: int, depth: int) -> None:
    spec, encoders, memory = built(2, small("learned", first=first, depth=depth, read_slots=read_slots))
    encoders["seismic"].causal = True
    for live in spec.patterns():
        windows = windows_of(spec, live)
        found = features_of(memory, encoders, windows, live)
        p = parameters_of(memory, encoders, spec, live)
        for name in found:
            tower, window = tower_of(encoders[name]), repeated(windows)[name]
            if encoders[name].causal:
                rows = causal_learned_pass(tower, window, p.stages[name], p.shared[name], p.dynamic[name], first)
            else:
                rows = learned_pass({name: tower}, {name: window}, p, first, depth)[name]
            np.testing.assert_allclose(array(found[name]), read(memory, *rows, name), atol=1e-8)


@pytest.mark.parametrize("absent", ["private_buffer", "shared_buffer", "dynamic_initialisation"])
def test_a_causal_tower_takes_any_thirds(absent: str) -> None:
    spec, encoders, memory = built(2, small("learned", depth=2, **{absent: False}))
    windows = windows_of(spec, spec.complete)
    open_ended = features_of(memory, encoders, windows, spec.complete)
    encoders["seismic"].causal = True
    causal = features_of(memory, encoders, windows, spec.complete)
    assert causal["seismic"].shape == open_ended["seismic"].shape
    assert not torch.allclose(causal["seismic"], open_ended["seismic"])


@pytest.mark.parametrize("count", [2, 3])
def test_a_missing_modality_adds_nothing_and_its_tower_does_not_run(count: int) -> None:
    spec, encoders, memory = built(count, small("learned"))
    towers = {name: tower_of(encoder) for name, encoder in encoders.items()}
    for live in spec.patterns():
        windows = windows_of(spec, live)
        found = features_of(memory, encoders, windows, live)
        assert list(found) == [name for name in spec.names if name in live]
        p = parameters_of(memory, encoders, spec, live)
        running = {name: towers[name] for name in found}
        expected = learned_pass(running, repeated(windows), p, 0, 4)
        for name in found:
            np.testing.assert_allclose(array(found[name]), read(memory, *expected[name], name), atol=1e-8)


def test_private_rows_are_replaced_before_the_next_block_and_come_from_the_buffers_alone() -> None:
    spec, encoders, memory = built(2, small("learned"))
    rows = memory.private_rows(encoders, spec.complete)
    assert [[r.shape[-1] for r in block.values()] for block in rows] == [[6, 4], [6, 4], [8, 10], [8, 10]]
    missing = memory.private_rows(encoders, frozenset({"acoustic"}))
    assert not torch.allclose(rows[0]["acoustic"], missing[0]["acoustic"]), "a live tower is told who is missing"


def test_prepare_starts_both_states_at_the_mean_token_plus_their_noise() -> None:
    spec, encoders = toys(2)
    memory = cast("LearnedMemory", build_memory(encoders, spec, small("learned", noise=0.2)).double())
    tokens = {name: encoders[name].embed(window) for name, window in windows_of(spec, spec.complete, 9).items()}
    memory.prepare(encoders, tokens)
    for name, embedded in tokens.items():
        tower: Any = memory.per_tower[name]
        for rows in tower.start.values():
            away = array(rows) - array(embedded.tokens).mean((0, 1))
            np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.2, atol=1e-6)


def test_the_shared_start_is_unit_rows_plus_noise_and_differs_by_pattern() -> None:
    spec, encoders = toys(3)
    memory = cast("LearnedMemory", build_memory(encoders, spec, small("learned", noise=0.0)))
    starts = [array(rows) for rows in memory.shared.values()]
    assert len(starts) == 7
    for rows in starts:
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    assert len({rows.tobytes() for rows in starts}) == 7
    assert memory.mix.item() == 0.5
