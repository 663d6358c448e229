"""A specialised module says what the model says, from the live windows alone."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny import BINS, SENSORS, randomise
from torch import Tensor

from rep_edge.config import AdapterConfig, Config, SimulatedData, SwinConfig
from rep_edge.export.specialise import specialise, specialise_backbone, specialise_tower
from rep_edge.model import RepModel, build_model
from rep_edge.signals import Pattern, WindowSpec

MEMORIES = {
    "fed": AdapterConfig(memory="fed", depth=4),
    "fed, head reads the missing": AdapterConfig(memory="fed", depth=3, zero_missing=False),
    "fed from block 1": AdapterConfig(memory="fed", first=1, depth=2, zero_missing=False),
    "fed, shared alone": AdapterConfig(memory="fed", depth=4, private_buffer=False),
    "fed, private alone": AdapterConfig(memory="fed", depth=4, shared_buffer=False, zero_missing=False),
    "fed without replay": AdapterConfig(memory="fed", depth=4, replay=False),
    "fed with cache": AdapterConfig(memory="fed", depth=4, cache=(1, 3)),
    "fed with cache, head reads the missing": AdapterConfig(memory="fed", depth=3, cache=(0, 1, 3), zero_missing=False),
    "learned": AdapterConfig(memory="learned", depth=4),
    "learned with cache": AdapterConfig(memory="learned", first=1, depth=2, cache=(0, 3)),
    "learned, head reads the missing": AdapterConfig(memory="learned", depth=3, zero_missing=False),
    "learned from block 1": AdapterConfig(memory="learned", first=1, depth=2, zero_missing=False),
    "learned without replay": AdapterConfig(memory="learned", depth=4, replay=False, read_slots=False),
    "prompts": AdapterConfig(memory="prompts", depth=4),
    "prompts, head reads the missing": AdapterConfig(memory="prompts", first=1, depth=2, zero_missing=False),
    "none": AdapterConfig(memory="none"),
    "none, head reads the missing": AdapterConfig(memory="none", zero_missing=False),
}


def model_with(count: int, adapter: AdapterConfig | None) -> RepModel:
    torch.manual_seed(11)
    encoder = SwinConfig(patch_bins=BINS, widths=(8, 16), depths=(2, 2), heads=2, feature_width=16)
    spec = WindowSpec(modalities=SENSORS[:count], hop_s=1.0)
    model = build_model(Config(signals=spec, data=SimulatedData(), encoder=encoder), ["car", "truck", "walk"])
    if adapter is not None:
        model.attach_adapter(adapter)
    randomise(model)
    return model.eval()


def windows_of(spec: WindowSpec, batch: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {m.name: 3 * torch.randn(batch, *m.shape, generator=generator) for m in spec.modalities}


def assert_equal_for(model: RepModel, pattern: Pattern) -> Tensor:
    windows = windows_of(model.spec, 3)
    graph = specialise(model, pattern)
    with torch.no_grad():
        expected = model(windows, pattern).logits.softmax(-1)
        found = graph(*(windows[name] for name in graph.names)).softmax(-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    return expected


@pytest.mark.parametrize("count", [2, 3], ids=["two sensors", "three sensors"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_for_every_pattern_the_specialised_module_equals_the_model(memory: str, count: int) -> None:
    model = model_with(count, MEMORIES[memory])
    said = [assert_equal_for(model, pattern) for pattern in model.spec.patterns()]
    assert len({tuple(p.flatten().tolist()) for p in said}) == len(said), "patterns that say the same prove nothing"


def test_a_backbone_that_was_never_adapted_is_specialised_too() -> None:
    model = model_with(2, None)
    for pattern in model.spec.patterns():
        assert_equal_for(model, pattern)


def test_the_model_passed_in_is_unchanged_and_shares_nothing_that_changes() -> None:
    model = model_with(2, MEMORIES["fed"]).train()
    before, trainable = deepcopy(model.state_dict()), {n for n, p in model.named_parameters() if p.requires_grad}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for pattern in model.spec.patterns():
        graph = specialise(model, pattern)
        assert not graph.training
        assert not any(p.requires_grad for p in graph.parameters())
        for parameter in graph.parameters():
            parameter.add_(1.0)
    assert model.memory.training
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trainable
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, tensor in model.named_buffers():
        assert torch.equal(tensor, buffers[name]), name


def test_a_missing_tower_that_the_memory_runs_is_collapsed() -> None:
    model = model_with(2, MEMORIES["fed"])
    graph = specialise(model, frozenset({"seismic"}))
    full = model.encoder("acoustic").embed(model.placeholder("acoustic")).tokens
    collapsed = graph.model.encoder("acoustic").embed(model.placeholder("acoustic")).tokens
    assert collapsed.shape[1] < full.shape[1] / 4


def test_the_plain_backbone_and_one_tower_stand_without_slots() -> None:
    adapted, plain = model_with(2, MEMORIES["learned with cache"]), model_with(2, MEMORIES["none"])
    plain.load_state_dict({n: t for n, t in adapted.state_dict().items() if not n.startswith("memory")})
    windows = windows_of(plain.spec, 3)
    with torch.no_grad():
        whole = plain(windows, plain.spec.complete).logits.softmax(-1)
        tower = plain(windows, frozenset({"acoustic"})).logits.softmax(-1)
        graphs = specialise_backbone(adapted), specialise_tower(adapted, "acoustic")
        torch.testing.assert_close(graphs[0](*windows.values()).softmax(-1), whole, atol=1e-5, rtol=0)
        torch.testing.assert_close(graphs[1](windows["acoustic"]).softmax(-1), tower, atol=1e-5, rtol=0)
