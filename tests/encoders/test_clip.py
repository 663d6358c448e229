"""Towers out of open_clip against its own features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from clip_models import (
    SIZE,
    SPEC,
    TEXT,
    config_of,
    described,
    feature,
    model_of,
    pictures,
    texts,
    timm_image,
)
from safetensors.torch import save_file

from rep_edge.config import ClipConfig
from rep_edge.encoders.clip import build_clip_towers, clip_architecture, self_contained
from rep_edge.encoders.clip_definition import instantiate, read_definition
from rep_edge.encoders.clip_parts import image_tower, picture_size, text_tower
from rep_edge.encoders.text_tower import CausalTextTower, EndedTextTower, TextTower
from rep_edge.signals import Image, WindowSpec

VISION = {
    "as OpenAI has it": {},
    "layer scales": {"ls_init_value": 0.3},
    "mean of the patches": {"pool_type": "avg"},
    "normed behind the mean": {"pool_type": "avg", "final_ln_after_pool": True},
    "no norm in front": {"no_ln_pre": True},
    "sines and cosines": {"pos_embed_type": "sin_cos_2d"},
    "pooled by attention": {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2},
    "GELU by tanh": {"act_kwargs": {"approximate": "tanh"}},
    "large epsilon": {"norm_kwargs": {"eps": 0.1}},
}


@pytest.mark.parametrize("changes", VISION.values(), ids=VISION)
def test_without_slots_the_image_feature_is_open_clips(changes: dict[str, Any]) -> None:
    model = model_of(described(vision=changes))
    tower = image_tower(model)
    expected = model.encode_image(pictures())
    torch.testing.assert_close(feature(tower, pictures()), expected, atol=1e-5, rtol=0)
    assert expected.shape == (2, tower.feature_width)


LANGUAGE: dict[str, tuple[dict[str, Any], type[TextTower]]] = {
    "as OpenAI has it": ({}, CausalTextTower),
    "layer scales": ({"ls_init_value": 0.3}, CausalTextTower),
    "first end of text": ({"pool_type": "eos", "eos_id": TEXT.end}, CausalTextTower),
    "every token sees all": ({"no_causal_mask": True}, EndedTextTower),
    "last token, with a bias": ({"no_causal_mask": True, "pool_type": "last", "proj_bias": True}, TextTower),
    "first token, no projection": ({"no_causal_mask": True, "pool_type": "first", "proj_type": "none"}, TextTower),
}


@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("quick", [False, True], ids=["GELU", "QuickGELU"])
@pytest.mark.parametrize(("changes", "kind"), LANGUAGE.values(), ids=LANGUAGE)
def test_without_slots_the_text_feature_is_open_clips(
    changes: dict[str, Any], kind: type[TextTower], quick: bool, custom: bool
) -> None:
    model = model_of(described(text=changes, quick_gelu=quick, custom_text=custom))
    tower = text_tower(model, TEXT.end)
    expected = model.encode_text(texts())
    torch.testing.assert_close(feature(tower, texts()), expected, atol=1e-5, rtol=0)
    assert type(tower) is kind
    assert expected.shape == (3, tower.feature_width)


TRUNKS = {
    "class token": ("vit_tiny_patch16_224", {}),
    "mean and a projection behind": ("vit_tiny_patch16_224", {"timm_pool": "avg", "timm_proj": "linear"}),
    "pooled by attention, as SigLIP": ("vit_tiny_patch16_224", {"timm_pool": "map", "timm_proj": "none"}),
}


@pytest.mark.parametrize(("trunk", "changes"), TRUNKS.values(), ids=TRUNKS)
def test_without_slots_the_feature_of_a_plain_timm_trunk_is_open_clips(trunk: str, changes: dict[str, Any]) -> None:
    model = model_of(timm_image(timm_model_name=trunk, **changes))
    size = picture_size(model)
    torch.testing.assert_close(
        feature(image_tower(model), pictures(size)), model.encode_image(pictures(size)), atol=1e-5, rtol=0
    )


@pytest.fixture(scope="module")
def small() -> Any:
    return model_of(described())


def test_weights_are_taken_over_and_not_copied(small: Any) -> None:
    held = {parameter.data_ptr() for parameter in small.parameters()}
    for tower in (image_tower(small), text_tower(small, TEXT.end)):
        own = [p for p in tower.parameters() if p.data_ptr() not in held]
        # The projection alone stands the other way round.
        assert [p.shape for p in own] == [(10, 12)]


FORMS = ["safetensors", "pt", "checkpoint", "half"]


@pytest.mark.parametrize("form", FORMS)
def test_weights_come_from_a_local_file(small: Any, tmp_path: Path, form: str) -> None:
    weights = small.state_dict()
    path = tmp_path / "weights.pt"
    if form == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(weights, path)
    elif form == "pt":
        torch.save(weights, path)
    elif form == "checkpoint":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": w for name, w in weights.items()}}, path)
    else:
        torch.save({name: w.half() for name, w in weights.items()}, path)
    towers = build_clip_towers(config_of(described(), pretrained=str(path)), SPEC)
    tolerance = 0.05 if form == "half" else 1e-5
    image, text = feature(towers["image"], pictures()), feature(towers["text"], texts())
    torch.testing.assert_close(image, small.encode_image(pictures()), atol=tolerance, rtol=0)
    torch.testing.assert_close(text, small.encode_text(texts()), atol=tolerance, rtol=0)
    assert {parameter.dtype for tower in towers.values() for parameter in tower.parameters()} == {torch.float32}


def test_weights_of_a_clip_serve_a_custom_text_clip(small: Any, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "weights.pt")
    config = config_of(described(custom_text=True), pretrained=str(tmp_path / "weights.pt"))
    tower = build_clip_towers(config, SPEC)["text"]
    torch.testing.assert_close(feature(tower, texts()), small.encode_text(texts()), atol=1e-5, rtol=0)


def test_a_checkpoints_weights_fit_the_architecture_alone(small: Any) -> None:
    config = config_of(described())
    trained = {"image": image_tower(small), "text": text_tower(small, TEXT.end)}
    for name, tower in clip_architecture(config, SPEC).items():
        assert not any(p.is_meta for p in [*tower.parameters(), *tower.buffers()])
        tower.load_state_dict(trained[name].state_dict())
        window = pictures() if name == "image" else texts()
        torch.testing.assert_close(feature(tower, window), feature(trained[name], window), atol=1e-6, rtol=0)


def test_a_configuration_file_and_what_it_says_are_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_text(json.dumps({"model_cfg": described(), "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}))
    config = ClipConfig(model=str(path), random_init=True)
    told = self_contained(config)
    path.unlink()
    towers = build_clip_towers(told, SPEC)
    assert [tower.steps for tower in towers.values()] == [2, 2]
    assert self_contained(told) == told


def test_two_images_get_a_tower_each() -> None:
    spec = WindowSpec(modalities=(Image(name="front", size=SIZE), Image(name="rear", size=SIZE)))
    towers = build_clip_towers(config_of(described(), random_init=True), spec)
    front, rear = (dict(towers[name].named_parameters()) for name in ("front", "rear"))
    for name, parameter in front.items():
        assert torch.equal(parameter, rear[name])
        assert parameter.data_ptr() != rear[name].data_ptr()


NAMED = ["ViT-B-32", "ViT-L-14-336", "ViT-M-16-alt", "ViT-B-16-SigLIP2", "ViT-L-14-CLIPA", "MobileCLIP-B", "ViTamin-S"]


@pytest.mark.parametrize("name", NAMED)
def test_models_that_open_clip_knows_have_towers(name: str) -> None:
    known = open_clip.get_model_config(name)
    with torch.device("meta"):
        model = instantiate(read_definition(name), "meta")
    image, text = image_tower(model), text_tower(model, 1)
    assert text.steps == known["text_cfg"]["layers"]
    assert text.width(0) == known["text_cfg"]["width"]
    assert image.feature_width == text.feature_width == known["embed_dim"]
    assert picture_size(model) == known["vision_cfg"]["image_size"]
    assert {p.device.type for p in image.parameters()} == {"meta"}
