"""The cache: levels of early blocks past the deeper ones, against numpy; the same for every memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reference import Array
from torch import Tensor
from toy import FEATURE, STEPS, ToyEncoder, array, randomised, small, toys, windows_of

from rep_edge.adapter.cache import SPREAD, Cache
from rep_edge.adapter.choice import build_memory
from rep_edge.adapter.memory import Memory
from rep_edge.encoders.base import Beside, Keep
from rep_edge.errors import InputError

BLOCKS = (0, 2, 3)
MEMORIES = ["fed", "learned", "prompts", "none"]


class Recording(ToyEncoder):
    """Keeps the tokens that every block left."""

    left: dict[int, Tensor]

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        out = super().step(k, sequence, lead, fixed, keep)
        self.left[k] = out[:, lead if keep == "all" else 0 :]
        return out


def recording(memory: Any, **changes: object) -> tuple[Any, dict[str, Recording], Memory]:
    spec, plain = toys(2)
    encoders = {name: Recording(encoder.widths).double() for name, encoder in plain.items()}
    for encoder in encoders.values():
        encoder.left = {}
    torch.manual_seed(3)
    built = build_memory(encoders, spec, small(memory, **changes))
    randomised(built)
    return spec, encoders, built


def offset(cache: Any, left: dict[int, Tensor]) -> Array:
    """W ((rms - centre) * scale) + b, the root mean square of each channel over a block's tokens."""
    levels = np.concatenate([np.sqrt((array(left[k]) ** 2).mean(axis=1)) for k in BLOCKS], axis=1)
    standard = (levels - array(cache.centre)) * array(cache.scale)
    return np.asarray(standard @ array(cache.project.weight).T + array(cache.project.bias))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("memory", MEMORIES)
def test_the_head_reads_the_levels_beside_the_feature(memory: str, first: int) -> None:
    spec, encoders, cached = recording(memory, cache=BLOCKS, first=first, depth=2)
    for cache in cached.caches.values():
        cache.get_buffer("centre").normal_()
        cache.get_buffer("scale").uniform_(0.5, 2)
    plain = build_memory(encoders, spec, small(memory, first=first, depth=2)).double().eval()
    plain.load_state_dict({n: t for n, t in cached.state_dict().items() if not n.startswith("caches")})
    for live in spec.patterns():
        windows = windows_of(spec, live)
        tokens = {n: encoders[n].embed(windows[n]) for n in cached.towers(live)}
        without = plain(encoders, tokens, live).by_modality
        found = cached(encoders, tokens, live).by_modality
        for name in found:
            expected = array(without[name]) + offset(cached.caches[name], encoders[name].left)
            np.testing.assert_allclose(array(found[name]), expected, atol=1e-10)


def test_prepare_standardises_by_training_windows() -> None:
    spec, encoders, memory = recording("none", cache=BLOCKS)
    windows = windows_of(spec, spec.complete, batch=40)
    memory.prepare(encoders, {n: encoders[n].embed(windows[n]) for n in spec.names})
    for name, cache in memory.caches.items():
        levels = torch.cat([encoders[name].level(k, encoders[name].left[k]) for k in BLOCKS], dim=1)
        standard = (levels - cache.get_buffer("centre")) * cache.get_buffer("scale")
        torch.testing.assert_close(standard.mean(dim=0), torch.zeros_like(standard[0]), atol=1e-9, rtol=0)
        assert (standard.std(dim=0) <= SPREAD).all()
        assert standard.std(dim=0).median() > 0.9 * SPREAD


def test_a_fresh_cache_adds_nothing() -> None:
    encoder = ToyEncoder((6, 8))
    cache = Cache(encoder, BLOCKS)
    assert torch.equal(cache([torch.randn(5, encoder.width(k)) for k in BLOCKS]), torch.zeros(5, FEATURE))


def test_folded_it_gives_the_same_offsets_from_the_bare_levels() -> None:
    encoder = ToyEncoder((6, 8)).double()
    cache = Cache(encoder, BLOCKS)
    randomised(cache)
    levels = [torch.rand(5, encoder.width(k), dtype=torch.float64) for k in BLOCKS]
    cache.prepare(levels)
    before = cache(levels)
    cache.fold()
    torch.testing.assert_close(cache(levels), before)
    torch.testing.assert_close(cache.project(torch.cat(levels, dim=1)), before)
    assert not list(cache.buffers())
    cache.fold()
    torch.testing.assert_close(cache(levels), before)


@pytest.mark.parametrize("blocks", [(STEPS,), (-1,), (2, 1), (1, 1)])
@pytest.mark.parametrize("memory", MEMORIES)
def test_blocks_that_are_not_there_are_refused(memory: Any, blocks: tuple[int, ...]) -> None:
    spec, encoders = toys(2)
    with pytest.raises(InputError, match="cache must name blocks out of 0 to 3 in rising order"):
        build_memory(encoders, spec, small(memory, cache=blocks))
