"""The memory of the paper's equations against the whole pass in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from reference import Array, FedParameters, Map, Result, fed_pass, gelu, sigmoid
from torch import Tensor
from toy import ToyEncoder, array, linear, norm, randomised, repeated, small, tower_of, toys, two_layers, windows_of

from rep_edge.adapter.choice import build_memory
from rep_edge.adapter.equations import start_private
from rep_edge.adapter.fed import FedMemory
from rep_edge.adapter.memory import Features
from rep_edge.config import AdapterConfig
from rep_edge.signals import Pattern, WindowSpec


def comparable(theta: torch.nn.Linear) -> Map:
    return lambda rows: rows @ array(theta.weight)


def single_layer(h: torch.nn.Sequential) -> Map:
    """H: Linear, GELU."""
    return lambda rows: gelu(linear(h[0])(rows))


def parameters_of(memory: FedMemory, start: str) -> FedParameters:
    maps: Mapping[str, Any] = dict(memory.maps.items())
    return FedParameters(
        start=array(memory.shared[start]),
        theta={m: [linear(layer) for layer in maps[m].theta] for m in maps},
        comparable={m: [comparable(layer) for layer in maps[m].theta] for m in maps},
        z={m: [norm(layer) for layer in maps[m].norm] for m in maps},
        g={m: [two_layers(layer) for layer in maps[m].g] for m in maps},
        h=[single_layer(cast("torch.nn.Sequential", layer)) for layer in memory.h],
        alpha={m: float(sigmoid(maps[m].alpha.item())) for m in maps},
        epsilon=float(sigmoid(memory.epsilon.item())),
        beta_private={m: maps[m].beta_private.item() for m in maps},
        beta_shared={m: maps[m].beta_shared.item() for m in maps},
    )


def features_of(
    memory: FedMemory, encoders: Mapping[str, ToyEncoder], windows: Mapping[str, Tensor], live: Pattern
) -> Features:
    with torch.no_grad():
        tokens = {name: encoders[name].embed(windows[name]) for name in memory.towers(live)}
        features: Features = memory(encoders, tokens, live)
    return features


def built(count: int, config: AdapterConfig) -> tuple[WindowSpec, dict[str, ToyEncoder], FedMemory]:
    spec, encoders = toys(count)
    memory = cast("FedMemory", build_memory(encoders, spec, config))
    randomised(memory)
    return spec, encoders, memory


def read(memory: FedMemory, result: Result, name: str) -> Array:
    """The pooled feature and what the head reads of both last buffers."""
    readers: Any = memory.read_private[name], memory.read_shared[name]
    buffers = result.private[name], result.shared
    feature = result.feature[name]
    for reader, buffer in zip(readers, buffers, strict=True):
        assert buffer is not None
        feature = feature + linear(reader.project)(norm(reader.norm)(buffer).reshape(len(buffer), -1))
    return feature


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("first", "depth"), [(0, 4), (0, 1), (0, 3), (1, 2), (2, 2)])
def test_features_and_orthogonality_equal_the_papers_pass(count: int, first: int, depth: int) -> None:
    config = small("fed", first=first, depth=depth, zero_missing=False, orthogonality=0.1)
    spec, encoders, memory = built(count, config)
    towers = {name: tower_of(encoder) for name, encoder in encoders.items()}
    for live in spec.patterns():
        windows = windows_of(spec, live)
        found = features_of(memory, encoders, windows, live)
        p = parameters_of(memory, spec.pattern_name(live))
        expected = fed_pass(towers, repeated(windows), p, first, depth)
        for name in spec.names:
            np.testing.assert_allclose(array(found.by_modality[name]), read(memory, expected, name), atol=1e-8)
        assert float(found.orthogonality) == pytest.approx(expected.orthogonality, abs=1e-8)


def test_a_missing_feature_is_left_out_though_its_tower_feeds_the_shared_buffer() -> None:
    spec, encoders, memory = built(2, small("fed"))
    live = frozenset({"acoustic"})
    windows = windows_of(spec, live)
    silent = features_of(memory, encoders, windows, live).by_modality
    assert list(silent) == ["acoustic"]
    windows["seismic"] = windows["seismic"] + 1.0
    loud = features_of(memory, encoders, windows, live).by_modality
    assert not torch.allclose(silent["acoustic"], loud["acoustic"])


def test_noise_is_for_training_alone() -> None:
    spec, encoders, memory = built(2, small("fed"))
    windows = windows_of(spec, spec.complete)
    calm = [features_of(memory, encoders, windows, spec.complete).by_modality["acoustic"] for _ in range(2)]
    assert torch.equal(*calm)
    memory.train()
    noisy = [features_of(memory, encoders, windows, spec.complete).by_modality["acoustic"] for _ in range(2)]
    assert not torch.allclose(*noisy)


def test_each_window_starts_from_its_own_tokens() -> None:
    tokens = torch.randn(4, 12, 6)
    alone = torch.cat([start_private(tokens[i : i + 1], 3, 0.0, "gaussian") for i in range(4)])
    torch.testing.assert_close(start_private(tokens, 3, 0.0, "gaussian"), alone)
