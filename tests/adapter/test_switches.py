"""The ablation switches: what each adds, takes away and trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor
from toy import STEPS, ToyEncoder, randomised, small, toys, windows_of

from rep_edge.adapter.choice import build_memory
from rep_edge.adapter.memory import Features, Memory
from rep_edge.config import AdapterConfig
from rep_edge.encoders.base import Beside, Keep
from rep_edge.errors import InputError
from rep_edge.signals import Pattern, WindowSpec

ON_OFF = (True, False)


def features(memory: Memory, encoders: Mapping[str, ToyEncoder], spec: WindowSpec, live: Pattern) -> Features:
    windows = windows_of(spec, live)
    found: Features = memory(encoders, {n: encoders[n].embed(windows[n]) for n in memory.towers(live)}, live)
    return found


def built(config: AdapterConfig, count: int = 2) -> tuple[WindowSpec, dict[str, ToyEncoder], Memory]:
    spec, encoders = toys(count)
    memory = build_memory(encoders, spec, config)
    randomised(memory)
    return spec, encoders, memory


def configurations(off_together: int) -> Iterator[AdapterConfig]:
    """Every memory with up to so many switches off at a time, over all blocks and over two in the middle."""
    switches = ("dynamic_initialisation", "private_buffer", "shared_buffer", "replay", "zero_missing")
    for count, (first, depth) in product(range(off_together + 1), [(0, STEPS), (1, 2)]):
        for off in combinations(switches, count):
            common: dict[str, object] = {"first": first, "depth": depth, **dict.fromkeys(off, False)}
            if {"private_buffer", "shared_buffer"} <= set(off):
                continue
            yield from (small("fed", **common, orthogonality=weight) for weight in (0.0, 0.1))
            yield from (small("learned", **common, read_slots=read) for read in ON_OFF)
            yield small("learned", **common, train_dynamic=False)
            yield small("prompts", **common)


@pytest.mark.parametrize(("count", "off_together"), [(1, 1), (2, 2), (3, 1)])
def test_every_trainable_parameter_gets_a_gradient_from_some_pattern(count: int, off_together: int) -> None:
    for config in configurations(off_together):
        spec, encoders, memory = built(config, count)
        loss = torch.zeros((), dtype=torch.float64)
        for live in spec.patterns():
            found = features(memory, encoders, spec, live)
            loss = loss + sum(f.square().sum() for f in found.by_modality.values())
            loss = loss + config.orthogonality * found.orthogonality
        loss.backward()
        for name, parameter in memory.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"{config}: {name} is never used"
                assert parameter.grad.abs().max() > 0, f"{config}: {name} changes nothing"


class Recording(ToyEncoder):
    """Notes for each block how many slots it saw: (carried through, attended to alone)."""

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        self.seen[k] = (lead, 0 if fixed is None else fixed.shape[1])
        return super().step(k, sequence, lead, fixed, keep)


def slots_seen(config: AdapterConfig) -> list[tuple[int, int]]:
    """By block, of the first tower in the complete pattern."""
    spec, plain = toys(2)
    encoders = {name: Recording(encoder.widths).double() for name, encoder in plain.items()}
    for encoder in encoders.values():
        encoder.seen = [(0, 0)] * STEPS
    memory = build_memory(encoders, spec, config)
    randomised(memory)
    features(memory, encoders, spec, spec.complete)
    return next(iter(encoders.values())).seen


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        (small("fed"), [(6, 0)] * 4),
        (small("fed", slots=12), [(12, 0)] * 4),
        (small("fed", depth=2), [(6, 0)] * 4),
        (small("fed", first=1, depth=2), [(0, 0), (6, 0), (6, 0), (6, 0)]),
        (small("fed", private_buffer=False), [(3, 0)] * 4),
        (small("fed", shared_buffer=False), [(3, 0)] * 4),
        (small("fed", replay=False), [(6, 0)] * 4),
        (small("learned"), [(4, 2)] * 4),
        (small("learned", slots=12), [(8, 4)] * 4),
        (small("learned", depth=2), [(4, 2), (6, 0), (6, 0), (6, 0)]),
        (small("learned", first=1, depth=2), [(0, 0), (4, 2), (6, 0), (6, 0)]),
        (small("learned", dynamic_initialisation=False), [(2, 2)] * 4),
        (small("learned", private_buffer=False), [(4, 0)] * 4),
        (small("learned", shared_buffer=False), [(2, 2)] * 4),
        (small("learned", replay=False), [(6, 0)] * 4),
        (small("prompts", depth=2), [(0, 6), (0, 6), (0, 0), (0, 0)]),
        (small("none"), [(0, 0)] * 4),
    ],
)
def test_slots_at_every_block(config: AdapterConfig, seen: list[tuple[int, int]]) -> None:
    assert slots_seen(config) == seen


def trained(config: AdapterConfig) -> set[str]:
    _, _, memory = built(config)
    return {name for name, parameter in memory.named_parameters() if parameter.requires_grad}


def parts(names: set[str]) -> set[str]:
    return {part for name in names for part in name.split(".")}


def test_fed_without_dynamic_initialisation_has_learned_starts_and_one_for_all_patterns() -> None:
    assert {n for n in trained(small("fed")) if n.startswith("shared")} == {
        "shared.acoustic+seismic",
        "shared.acoustic",
        "shared.seismic",
    }
    without = trained(small("fed", dynamic_initialisation=False))
    assert {n for n in without if n.startswith(("shared", "start"))} == {
        "shared.every",
        "start.acoustic",
        "start.seismic",
    }


def test_a_buffer_that_is_off_leaves_no_parameter() -> None:
    assert not parts(trained(small("fed", private_buffer=False))) & {"g", "alpha", "beta_private", "read_private"}
    assert not parts(trained(small("fed", shared_buffer=False))) & {"theta", "h", "epsilon", "beta_shared", "shared"}
    assert not parts(trained(small("learned", private_buffer=False))) & {"start", "stages", "mix", "norms"}
    assert not parts(trained(small("learned", shared_buffer=False))) & {"shared", "entry"}
    assert not parts(trained(small("learned", dynamic_initialisation=False))) & {"queries", "attention"}
    assert not parts(trained(small("learned", read_slots=False))) & {"readers"}


def test_the_published_code_never_trains_the_dynamic_attention() -> None:
    frozen = trained(small("learned")) - trained(small("learned", train_dynamic=False))
    assert parts(frozen) >= {"queries", "attention"}
    assert all("queries" in name or "attention" in name for name in frozen)


def test_queries_exist_for_the_patterns_in_which_their_tower_runs() -> None:
    def queries(zero_missing: bool) -> set[str]:
        _, _, memory = built(small("learned", zero_missing=zero_missing))
        tower: Any = memory.get_submodule("per_tower.acoustic")
        return set(tower.queries.keys())

    assert queries(zero_missing=True) == {"acoustic+seismic", "acoustic"}
    assert queries(zero_missing=False) == {"acoustic+seismic", "acoustic", "seismic"}


@pytest.mark.parametrize("memory", ["fed", "learned"])
def test_replay_changes_what_comes_out(memory: Any) -> None:
    spec, encoders, on = built(small(memory))
    off = build_memory(encoders, spec, small(memory, replay=False)).double().eval()
    off.load_state_dict({n: t for n, t in on.state_dict().items() if n in off.state_dict()})
    outputs = [features(m, encoders, spec, spec.complete).by_modality["acoustic"] for m in (on, off)]
    assert not torch.allclose(*outputs)


@pytest.mark.parametrize("memory", ["fed", "learned"])
def test_noise_and_its_law_change_the_starts_and_nothing_else(memory: Any) -> None:
    def starts(**changes: object) -> dict[str, Tensor]:
        spec, encoders = toys(2)
        torch.manual_seed(5)
        return build_memory(encoders, spec, small(memory, **changes)).state_dict()

    usual = starts()
    laplace = starts(noise_type="laplace")
    assert {n: t.shape for n, t in usual.items()} == {n: t.shape for n, t in laplace.items()}
    assert not torch.equal(usual["shared.acoustic"], laplace["shared.acoustic"])
    if memory == "learned":
        start = "per_tower.acoustic.start.present"
        torch.testing.assert_close(starts(noise=0.4)[start], 2 * usual[start])


def test_equation_6_is_zero_without_a_weight_or_without_both_buffers() -> None:
    def penalty(**changes: object) -> float:
        spec, encoders, memory = built(small("fed", **changes))
        return features(memory, encoders, spec, spec.complete).orthogonality.item()

    assert penalty(orthogonality=0.1) > 0
    assert penalty() == 0
    assert penalty(orthogonality=0.1, private_buffer=False) == 0
    assert penalty(orthogonality=0.1, shared_buffer=False) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": 5}, "do not fit the encoder's 4 blocks"),
        ({"depth": 0}, "lower depth or first"),
        ({"first": -1}, "lower depth or first"),
        ({"first": 2, "depth": 3}, "lower depth or first"),
        ({"slots": 4}, "multiple of 6"),
        ({"slots": 0}, "multiple of 6"),
        ({"private_buffer": False, "shared_buffer": False}, "memory: none is the head alone"),
    ],
)
@pytest.mark.parametrize("memory", ["fed", "learned"])
def test_a_memory_that_does_not_fit_is_refused_in_one_line(memory: Any, changes: dict[str, int], words: str) -> None:
    spec, encoders = toys(2)
    with pytest.raises(InputError, match=words) as error:
        build_memory(encoders, spec, small(memory, **changes))
    assert "\n" not in str(error.value)
