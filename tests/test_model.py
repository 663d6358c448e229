"""The classifier as a whole: what it refuses, what it looks at, what it trains."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import torch
from torch import Tensor, nn

from rep_edge.config import AdapterConfig, Config, FrontendConfig, SimulatedData, SwinConfig, read_config
from rep_edge.errors import InputError
from rep_edge.model import RepModel, build_model
from rep_edge.signals import Stream, WindowSpec

LABELS = ("car", "truck", "walk")
CONFIGS = Path(__file__).parents[1] / "configs"
SENSORS = (
    Stream(name="acoustic", rate_hz=200, samples=400),
    Stream(name="seismic", rate_hz=100, samples=200),
    Stream(name="magnetic", rate_hz=50, samples=100, channels=3),
)
ENCODER = SwinConfig(
    patch_bins={"acoustic": 2, "seismic": 1, "magnetic": 1}, widths=(8, 16), depths=(1, 2), heads=2, feature_width=16
)
CONFIG = Config(signals=WindowSpec(modalities=SENSORS, hop_s=1.0), data=SimulatedData(), encoder=ENCODER)
MEMORIES: tuple[Literal["fed", "learned", "prompts", "none"], ...] = ("fed", "learned", "prompts", "none")


def adapter(memory: Literal["fed", "learned", "prompts", "none"], *, zero_missing: bool = True) -> AdapterConfig:
    return AdapterConfig(
        memory=memory, depth=3, bottleneck=8, shared_width=8, orthogonality=0.1, zero_missing=zero_missing
    )


def backbone() -> RepModel:
    torch.manual_seed(2)
    return build_model(CONFIG, LABELS).eval()


def adapted(config: AdapterConfig) -> RepModel:
    """With random weights in the adapter, whose offsets start at zero."""
    model = backbone()
    model.attach_adapter(config)
    for parameter in (*model.memory.parameters(), *model.encoders.parameters()):
        nn.init.normal_(parameter, std=0.2)
    return model


def windows(batch: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {m.name: torch.randn(batch, *m.shape, generator=generator) for m in SENSORS}


def changed(**changes: object) -> Config:
    return msgspec.structs.replace(CONFIG, encoder=msgspec.structs.replace(ENCODER, **changes))


@pytest.mark.parametrize(
    ("config", "labels", "line"),
    [
        (
            changed(patch_bins={"acoustic": 2}),
            LABELS,
            "encoder: patch_bins has no entry for seismic, magnetic; add one",
        ),
        (changed(depths=(2,)), LABELS, "encoder: widths and depths must have one entry for each stage"),
        (changed(widths=(), depths=()), LABELS, "encoder: widths and depths must have one entry for each stage"),
        (changed(window=0), LABELS, "encoder: patch_bins, widths, depths, heads and window must all be at least 1"),
        (changed(heads=0), LABELS, "encoder: patch_bins, widths, depths, heads and window must all be at least 1"),
        (changed(heads=3), LABELS, "encoder: widths (8, 16) must be divisible by heads 3"),
        (changed(feature_width=18), LABELS, "encoder: feature_width must be a multiple of 4, not 18"),
        (CONFIG, ("car",), "labels: at least two classes are needed, not ['car']"),
        (
            msgspec.structs.replace(CONFIG, frontend=FrontendConfig(segments=7)),
            LABELS,
            "signals and frontend do not fit: 400 samples do not divide into 7 equal segments",
        ),
    ],
)
def test_a_configuration_that_makes_no_model_is_told_in_one_line(
    config: Config, labels: tuple[str, ...], line: str
) -> None:
    with pytest.raises(InputError) as error:
        build_model(config, labels)
    assert str(error.value) == line


def test_an_adapter_that_does_not_fit_leaves_the_backbone_as_it_was() -> None:
    model = backbone()
    with pytest.raises(InputError, match="lower depth"):
        model.attach_adapter(AdapterConfig(depth=9))
    assert model.stage == "backbone"
    assert model.config == CONFIG
    assert not list(model.memory.parameters())


@pytest.mark.parametrize("zero_missing", [True, False], ids=["missing is zero", "missing is heard"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_three_sensors_train_through_all_seven_patterns(
    memory: Literal["fed", "learned", "prompts", "none"], zero_missing: bool
) -> None:
    model = adapted(adapter(memory, zero_missing=zero_missing)).train()
    said = []
    for pattern in model.spec.patterns():
        output = model({name: x for name, x in windows().items() if name in pattern}, pattern)
        assert output.logits.shape == (5, 3)
        assert output.orthogonality.shape == ()
        (nn.functional.cross_entropy(output.logits, torch.tensor([0, 1, 2, 0, 1])) + output.orthogonality).backward()
        said.append(output.logits)
    assert len(said) == 7
    assert not any(torch.allclose(a, b) for i, a in enumerate(said) for b in said[:i])
    for name, parameter in model.named_parameters():
        learns = not name.startswith("encoders")
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None) == learns, name


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_missing_window_is_never_looked_at(memory: Literal["fed", "learned", "prompts", "none"]) -> None:
    for model in (backbone(), adapted(adapter(memory, zero_missing=False)), adapted(adapter(memory))):
        for pattern in model.spec.patterns():
            live = {name: x for name, x in windows().items() if name in pattern}
            poisoned = {name: x if name in pattern else torch.full_like(x, nan) for name, x in windows().items()}
            with torch.no_grad():
                assert torch.equal(model(poisoned, pattern).logits, model(live, pattern).logits)


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_window_is_judged_alike_alone_and_among_others(
    memory: Literal["fed", "learned", "prompts", "none"],
) -> None:
    model = adapted(adapter(memory, zero_missing=False))
    for pattern in model.spec.patterns():
        with torch.no_grad():
            together = model(windows(), pattern).logits
            alone = [model({n: x[i : i + 1] for n, x in windows().items()}, pattern).logits for i in range(5)]
        torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("memory", MEMORIES)
def test_attaching_an_adapter_leaves_the_backbones_weights_and_goes_on_from_its_head(
    memory: Literal["fed", "learned", "prompts", "none"],
) -> None:
    model = backbone()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.attach_adapter(adapter(memory))
    for name, tensor in before.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert model.stage == "adapted"
    assert model.config.adapter == adapter(memory)


def test_the_head_alone_starts_as_the_backbone_it_came_from() -> None:
    model = backbone()
    expected = {p: model(windows(), p).logits for p in model.spec.patterns()}
    model.attach_adapter(adapter("none", zero_missing=False))
    for pattern, logits in expected.items():
        assert torch.equal(model(windows(), pattern).logits, logits)


def test_a_frozen_tower_stays_in_evaluation_mode() -> None:
    model = adapted(adapter("learned")).train()
    assert model.memory.training
    assert model.head.training
    assert not any(module.training for module in model.encoders.acoustic.modules())
    model.train_only("everything")
    assert all(module.training for module in model.encoders.acoustic.modules())
    model.eval()
    assert not any(module.training for module in model.modules())


def test_train_only_chooses_what_learns() -> None:
    model = adapted(adapter("learned"))
    total = sum(p.numel() for p in model.encoders.parameters())

    def tower_parameters() -> int:
        return sum(p.numel() for p in model.encoders.parameters() if p.requires_grad)

    assert tower_parameters() == 0
    model.train_only("everything")
    assert tower_parameters() == total
    for asked in (1_000, 20_000, total):
        model.train_only("matched", asked)
        assert 0.9 * asked <= tower_parameters() <= asked
        assert all(p.requires_grad for p in (*model.memory.parameters(), *model.head.parameters()))
    model.train_only("adapter")
    assert tower_parameters() == 0


def test_matched_fine_tuning_goes_from_the_pooled_end_downwards() -> None:
    model = adapted(adapter("none"))
    tower = model.encoders.acoustic
    ends = [*tower.project.parameters(), *tower.norm.parameters()]
    model.train_only("matched", 3 * sum(p.numel() for p in ends))
    assert all(p.requires_grad for p in ends)
    names = {id(p): name for name, p in tower.named_parameters()}
    order = [names[id(p)] for p in model.encoder("acoustic").from_pooled_end()]
    assert sorted(order) == sorted(names.values())
    stages = [name.rsplit(".", 1)[0] for name in order]
    firsts = [stages.index(part) for part in ("project", "norm", "blocks.2.norm1", "merges.0.norm", "blocks.0.norm1")]
    assert firsts == sorted(firsts)
    assert order[-1] == "patch.weight"


def test_prepare_starts_learned_buffers_from_windows_and_leaves_other_memories_alone() -> None:
    for memory in MEMORIES:
        model = backbone()
        model.attach_adapter(adapter(memory))
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.prepare(windows())
        moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        starts = {f"memory.per_tower.{m.name}.start.{state}" for m in SENSORS for state in ("present", "missing")}
        assert moved == (starts if memory == "learned" else set())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_of_the_project_makes_a_model_and_its_adapter(path: Path) -> None:
    model = build_model(read_config(path), LABELS)
    model.attach_adapter(model.config.adapter)
    assert set(model.memory.caches) == (set(model.spec.names) if model.config.adapter.cache else set())
