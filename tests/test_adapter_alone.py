"""Adapters without their backbone: applied to the towers they were trained on, and to no others."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from checkpoints import CONFIG, MEMORIES, any_towers, complaint, model_of, same_answers, texts_and_picture
from safetensors.torch import load_file, save_file

from rep_edge.checkpoint import (
    ADAPTER,
    RECORD,
    WEIGHTS,
    apply_adapter,
    digest,
    load_pretrained,
    read_record,
    save_adapter,
    save_pretrained,
)
from rep_edge.config import AdapterConfig, ClipConfig, TrainConfig


@pytest.fixture
def towers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.model.build_encoders", any_towers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pretrained(model_of(None), tmp_path / "model", training={})
    return tmp_path / "model"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    save_adapter(model_of("fed"), tmp_path / "adapter", training={"epochs": 5}, dataset="toy")
    return tmp_path / "adapter"


@pytest.mark.usefixtures("towers")
def test_an_adapter_takes_the_backbones_tokenizers(tmp_path: Path) -> None:
    model = texts_and_picture("text")
    model.attach_adapter(AdapterConfig(memory="none"))
    save_adapter(model, tmp_path / "a", training={})
    assert apply_adapter(model, tmp_path / "a").tokenizers == model.tokenizers


@pytest.mark.usefixtures("towers")
def test_towers_that_came_from_elsewhere_are_the_same_if_their_weights_are(tmp_path: Path) -> None:
    model = texts_and_picture("text")
    model.attach_adapter(AdapterConfig(memory="none"))
    save_adapter(model, tmp_path / "a", training={})
    for fields in ({"pretrained": "openai"}, {"random_init": True}, {"tokenizer": "mine.json"}):
        model.config = msgspec.structs.replace(model.config, encoder=ClipConfig(**fields))
        assert apply_adapter(model, tmp_path / "a").config.encoder == model.config.encoder
    model.config = msgspec.structs.replace(model.config, encoder=ClipConfig(model="ViT-B-32"))
    assert "another `encoder`" in complaint(lambda: apply_adapter(model, tmp_path / "a"))


@pytest.mark.parametrize("memory", MEMORIES)
def test_an_adapter_alone_and_its_backbone_make_the_model(memory: str, tmp_path: Path) -> None:
    model = model_of(memory)
    save_adapter(model, tmp_path / "adapter", training={})
    back = apply_adapter(model_of(None), tmp_path / "adapter")
    assert (back.stage, back.labels, back.config) == ("adapted", model.labels, model.config)
    same_answers(back, model)


def test_an_adapter_holds_memory_and_head_and_no_tower(adapter: Path) -> None:
    assert sorted(p.name for p in adapter.iterdir()) == [ADAPTER, RECORD]
    model = model_of("fed")
    names = {name for name in model.state_dict() if not name.startswith("encoders.")}
    assert load_file(adapter / ADAPTER).keys() == names
    assert read_record(adapter).towers == digest(model.encoders) == digest(model_of(None).encoders)


def test_a_backbone_is_left_as_it_was_and_shares_nothing(adapter: Path) -> None:
    backbone = model_of(None)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    model = apply_adapter(backbone, adapter)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(1)
    assert backbone.stage == "backbone"
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_an_adapter_brings_its_own_labels_and_takes_the_place_of_another(adapter: Path) -> None:
    other = model_of("learned", labels=("one", "two", "three"))
    model = apply_adapter(other, adapter)
    assert (model.labels, model.config.adapter.memory) == (("car", "walk"), "fed")
    assert (model.origin.dataset, model.origin.training) == ("toy", {"epochs": 5})
    same_answers(model, model_of("fed"))


def test_towers_of_other_weights_are_refused(adapter: Path) -> None:
    backbone = model_of(None)
    with torch.no_grad():
        next(backbone.encoders.parameters())[0] += 1e-6
    line = complaint(lambda: apply_adapter(backbone, adapter))
    assert line.startswith(f"{adapter}: the adapter was trained on other weights: ")
    assert line.endswith("; give the backbone it was trained on")
    assert digest(backbone.encoders)[:12] in line


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("encoder", {"heads": 4}),
        ("frontend", {"segments": 5}),
        ("signals", {"hop_s": 0.5}),
    ],
)
def test_a_backbone_of_another_kind_is_refused(section: str, change: dict[str, object], adapter: Path) -> None:
    changed = msgspec.structs.replace(getattr(CONFIG, section), **change)
    backbone = model_of(None, msgspec.structs.replace(CONFIG, **{section: changed}))
    line = complaint(lambda: apply_adapter(backbone, adapter))
    assert f"another `{section}` section" in line


def test_a_backbone_has_no_adapter_to_save(tmp_path: Path) -> None:
    assert "has none" in complaint(lambda: save_adapter(model_of(None), tmp_path / "a", training={}))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("trainable", ["matched", "everything"])
def test_an_adapter_whose_towers_learned_too_does_not_stand_alone(trainable: str, tmp_path: Path) -> None:
    adapt = msgspec.convert({"trainable": trainable}, TrainConfig)
    model = model_of("fed", msgspec.structs.replace(CONFIG, adapt=adapt))
    assert trainable in complaint(lambda: save_adapter(model, tmp_path / "a", training={}))


def test_an_adapter_alone_is_no_model_and_a_model_is_no_adapter(adapter: Path, folder: Path) -> None:
    assert "adapter alone" in complaint(lambda: load_pretrained(adapter))
    assert "whole model (backbone)" in complaint(lambda: apply_adapter(model_of(None), folder))


def test_model_and_adapter_do_not_overwrite_each_other(adapter: Path, folder: Path) -> None:
    assert WEIGHTS in complaint(lambda: save_adapter(model_of("fed"), folder, training={}))
    assert ADAPTER in complaint(lambda: save_pretrained(model_of("fed"), adapter, training={}))
    assert load_pretrained(folder).stage == "backbone"
    assert apply_adapter(model_of(None), adapter).stage == "adapted"


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_truncated_adapter(kept: int, adapter: Path) -> None:
    content = (adapter / ADAPTER).read_bytes()
    (adapter / ADAPTER).write_bytes(content[:kept])
    assert "truncated or damaged" in complaint(lambda: apply_adapter(model_of(None), adapter))


def test_an_adapter_with_tensors_of_another(adapter: Path) -> None:
    weights = load_file(adapter / ADAPTER)
    tower = next(name for name in model_of(None).state_dict() if name.startswith("encoders."))
    save_file({**weights, tower: torch.zeros(1)}, adapter / ADAPTER)
    assert f"{tower} is unknown" in complaint(lambda: apply_adapter(model_of(None), adapter))
    weights.popitem()
    save_file(weights, adapter / ADAPTER)
    assert "is missing" in complaint(lambda: apply_adapter(model_of(None), adapter))


def test_a_digest_tells_names_shapes_and_every_bit_apart() -> None:
    def of(**tensors: torch.Tensor) -> str:
        module = torch.nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return digest(module)

    found = {
        of(a=torch.zeros(4)),
        of(b=torch.zeros(4)),
        of(a=torch.zeros(2, 2)),
        of(a=torch.zeros(4, dtype=torch.int32)),
        of(a=torch.tensor([0.0, 0, 0, -0.0])),
        of(a=torch.zeros(2), b=torch.zeros(2)),
        of(a=torch.zeros(4, dtype=torch.bfloat16)),
        of(a=torch.tensor(0.0)),
    }
    assert len(found) == 8
    assert of(a=torch.arange(6.0).reshape(2, 3).T) == of(a=torch.arange(6.0).reshape(2, 3).T.contiguous())
