"""Towers out of Hugging Face transformers against its own features, and what is said where a folder does not serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from rep_edge.config import ClipConfig
from rep_edge.encoders.base import Encoder
from rep_edge.encoders.clip_definition import instantiate, read_definition
from rep_edge.encoders.clip_parts import text_tower as open_clips_text_tower
from rep_edge.encoders.huggingface import build_huggingface_towers, huggingface_architecture, self_contained
from rep_edge.encoders.text_tower import CausalTextTower, TextTower
from rep_edge.errors import InputError
from rep_edge.signals import Image, Text, WindowSpec

SIZE, TOKENS, IDS, END = 16, 9, 50, 49
IMAGE = Image(name="image", size=SIZE)
TEXT = Text(name="text", tokens=TOKENS, vocabulary=IDS, placeholder=(48, 49), end=END)
SPEC = WindowSpec(modalities=(IMAGE, TEXT))

SMALL = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 3}
VISION = {**SMALL, "image_size": SIZE, "patch_size": 4}
OPEN_CLIPS = {"width": 12, "layers": 2}
TEXTS = {**SMALL, "vocab_size": IDS, "max_position_embeddings": TOKENS, "bos_token_id": 48, "eos_token_id": END}
CONFIGS: dict[str, dict[str, Any]] = {
    "clip": {"model_type": "clip", "vision_config": VISION, "text_config": TEXTS, "projection_dim": 10},
    "clip as before the end of text was given": {
        "model_type": "clip",
        "vision_config": VISION,
        "text_config": {**TEXTS, "bos_token_id": 0, "eos_token_id": 2},
        "projection_dim": 10,
    },
    "siglip": {"model_type": "siglip", "vision_config": VISION, "text_config": TEXTS},
}


def model_of(config: dict[str, Any]) -> Any:
    """The model, with weights at which every part matters."""
    torch.manual_seed(4)
    if config["model_type"] == "clip":
        model: Any = transformers.CLIPModel(transformers.CLIPConfig.from_dict(config))
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig.from_dict(config))
    model.eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn(parameter.shape)
    return model


def folder_of(model: Any, path: Path) -> ClipConfig:
    model.save_pretrained(path)
    return ClipConfig(library="transformers", model=str(path))


@pytest.fixture(params=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CONFIGS[request.param]


def pictures() -> Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(8))


def texts() -> Tensor:
    ids = torch.randint(0, END, (3, TOKENS), generator=torch.Generator().manual_seed(9))
    for row, end in enumerate((2, 5, TOKENS - 1)):
        ids[row, end] = END
    return ids


def windows() -> dict[str, Tensor]:
    return {"image": pictures(), "text": texts()}


def feature(tower: Encoder, window: Tensor) -> Tensor:
    """Every block without slots, as the adapters run it."""
    with torch.no_grad():
        sequence, beside = tower.embed(window)
        for k in range(tower.steps):
            sequence = tower.step(k, tower.advance(k, sequence, 0), 0, beside=beside)
        return tower.pool(sequence, beside)


def said(config: ClipConfig, spec: WindowSpec = SPEC) -> str:
    with pytest.raises(InputError) as caught:
        build_huggingface_towers(config, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_slots_the_features_are_the_models_own(config: dict[str, Any], tmp_path: Path) -> None:
    model = model_of(config)
    towers = build_huggingface_towers(folder_of(model, tmp_path), SPEC)
    own = {"image": model.get_image_features(pictures()), "text": model.get_text_features(texts())}
    for name, window in windows().items():
        expected = own[name].pooler_output
        torch.testing.assert_close(feature(towers[name], window), expected, atol=1e-5, rtol=0)
        assert expected.shape[1] == towers[name].feature_width
    assert type(towers["text"]) is (TextTower if config["model_type"] == "siglip" else CausalTextTower)


def test_a_clip_of_either_library_is_the_same_tower(tmp_path: Path) -> None:
    """The blocks do not know where their weights came from: the same names, the same sizes."""
    theirs = build_huggingface_towers(folder_of(model_of(CONFIGS["clip"]), tmp_path), SPEC)["text"]
    description = {
        "embed_dim": 10,
        "vision_cfg": {"image_size": SIZE, "patch_size": 4, "head_width": 4, **OPEN_CLIPS},
        "text_cfg": {"context_length": TOKENS, "vocab_size": IDS, "heads": 3, "mlp_ratio": 20 / 12, **OPEN_CLIPS},
        "quick_gelu": True,
    }
    other = open_clips_text_tower(instantiate(read_definition(json.dumps(description)), "cpu"), END)
    other.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(feature(other, texts()), feature(theirs, texts()), atol=1e-6, rtol=0)


def test_a_checkpoints_weights_fit_the_architecture_alone(config: dict[str, Any], tmp_path: Path) -> None:
    given = folder_of(model_of(config), tmp_path)
    trained = build_huggingface_towers(given, SPEC)
    told = self_contained(given)
    for file in tmp_path.iterdir():
        file.unlink()
    for name, tower in huggingface_architecture(told, SPEC).items():
        assert not any(p.is_meta for p in [*tower.parameters(), *tower.buffers()])
        tower.load_state_dict(trained[name].state_dict())
        window = windows()[name]
        torch.testing.assert_close(feature(tower, window), feature(trained[name], window), atol=1e-6, rtol=0)
    assert said(told) == "encoder: a description has no weights: give the model's folder, or --random-init"


def test_random_weights_need_a_configuration_alone(config: dict[str, Any]) -> None:
    given = ClipConfig(library="transformers", model=json.dumps(config), random_init=True)
    torch.manual_seed(1)
    first = build_huggingface_towers(given, SPEC)
    torch.manual_seed(2)
    second = build_huggingface_towers(given, SPEC)
    for name, window in windows().items():
        assert feature(first[name], window).isfinite().all()
        assert not torch.allclose(feature(first[name], window), feature(second[name], window))


def test_weights_may_lie_in_several_files_and_in_half_precision(tmp_path: Path) -> None:
    model = model_of(CONFIGS["clip"])
    given = folder_of(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    halves = {"one.safetensors": list(weights)[::2], "two.safetensors": list(weights)[1::2]}
    for file, names in halves.items():
        save_file({name: weights[name].half() for name in names}, tmp_path / file)
    index = {"weight_map": {name: file for file, names in halves.items() for name in names}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    tower = build_huggingface_towers(given, SPEC)["text"]
    expected = model.get_text_features(texts()).pooler_output
    torch.testing.assert_close(feature(tower, texts()), expected, atol=0.05, rtol=0)
    (tmp_path / "two.safetensors").unlink()
    assert "names files that are not there" in said(given)


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    model = model_of(CONFIGS["clip"])
    given = folder_of(model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert said(given) == (
        f"encoder: model {tmp_path} has no weights: put model.safetensors into its folder (other formats are not "
        "opened), or --random-init"
    )


def test_weights_of_another_model_and_damaged_ones_are_told(tmp_path: Path) -> None:
    given = folder_of(model_of(CONFIGS["clip"]), tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({name: tensor for name, tensor in weights.items() if "visual_projection" not in name}, file)
    missing = "tensor visual_projection.weight is missing"
    assert said(given) == f"{file}: is of another model than {tmp_path} ({missing})"
    file.write_bytes(file.read_bytes()[:100])
    assert said(given).startswith(f"{file}: is damaged")


def test_a_name_that_is_no_folder_is_told_with_how_to_get_one() -> None:
    assert said(ClipConfig(library="transformers", model="nobody/has-this")) == (
        "encoder: model nobody/has-this is neither a folder nor in the local cache; on a machine with network run  "
        "hf download nobody/has-this --local-dir FOLDER , copy the folder to this machine and give it as model"
    )


def test_pictures_prepared_otherwise_than_the_folder_says_are_told(tmp_path: Path) -> None:
    given = folder_of(model_of(CONFIGS["siglip"]), tmp_path)
    told = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": {"height": SIZE, "width": SIZE}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    changes: list[dict[str, Any]] = [
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"interpolation": "bilinear"},
        {"resize": "squash"},
    ]
    image = IMAGE
    for change in changes:
        (field,) = change
        line = said(given, WindowSpec(modalities=(image,)))
        assert line.startswith(f"signals: image has {field} ")
        assert line.endswith(f", but {tmp_path} takes {change[field]}")
        image = msgspec.structs.replace(image, **change)
    assert build_huggingface_towers(given, WindowSpec(modalities=(image,)))["image"].steps == 2


@pytest.mark.parametrize(
    ("change", "line"),
    [({"tokens": 8}, "8 tokens, but"), ({"vocabulary": 51}, "51, but"), ({"end": 40}, "end 40, but")],
    ids=["tokens", "vocabulary", "end"],
)
def test_texts_that_the_model_does_not_take_are_told(change: dict[str, Any], line: str) -> None:
    given = ClipConfig(library="transformers", model=json.dumps(CONFIGS["clip"]), random_init=True)
    spec = WindowSpec(modalities=(msgspec.structs.replace(TEXT, **change),))
    assert line in said(given, spec)


NO_MODELS = {
    "not JSON": ("{", "is not JSON"),
    "another type": (json.dumps({"model_type": "bert"}), "is of type bert; choose a CLIPModel or a SiglipModel"),
    "no head": (
        json.dumps({**CONFIGS["siglip"], "vision_config": {**VISION, "vision_use_head": False}}),
        "pools its image tokens in no way; choose a CLIPModel or a SiglipModel",
    ),
    "heads that do not divide the width": (
        json.dumps({**CONFIGS["siglip"], "vision_config": {**VISION, "num_attention_heads": 5}}),
        "is not one that transformers can build",
    ),
}


@pytest.mark.parametrize(("text", "line"), NO_MODELS.values(), ids=NO_MODELS)
def test_a_configuration_that_makes_no_such_model_is_told(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    found = said(ClipConfig(library="transformers", model=str(tmp_path), random_init=True))
    assert found.startswith(f"encoder: model {tmp_path}")
    assert line in found
