"""Towers out of open_clip against its own features, and what is said where model, signals or weights do not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rep_edge.config import ClipConfig
from rep_edge.encoders.base import Encoder
from rep_edge.encoders.clip import build_clip_towers, clip_architecture, self_contained
from rep_edge.encoders.clip_definition import instantiate, read_definition
from rep_edge.encoders.clip_parts import image_tower, picture_size, text_tower
from rep_edge.encoders.text_tower import CausalTextTower, EndedTextTower, TextTower
from rep_edge.errors import InputError
from rep_edge.signals import Image, Stream, Text, WindowSpec

SIZE, TOKENS, IDS = 16, 9, 50
IMAGE = Image(name="image", size=SIZE)
TEXT = Text(name="text", tokens=TOKENS, vocabulary=IDS, placeholder=(48, 49), end=49)
SPEC = WindowSpec(modalities=(IMAGE, TEXT))


def described(vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """A small open_clip model configuration with some entries changed."""
    small = {"width": 12, "layers": 2}
    return {
        "embed_dim": 10,
        "vision_cfg": {"image_size": SIZE, "patch_size": 4, "head_width": 4, **small, **(vision or {})},
        "text_cfg": {"context_length": TOKENS, "vocab_size": IDS, "heads": 3, **small, **(text or {})},
        **top,
    }


def timm_image(**changes: Any) -> dict[str, Any]:
    """A vision_cfg with timm's smallest plain trunk in place of open_clip's own."""
    return {
        "embed_dim": 10,
        "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "", **changes},
        "text_cfg": {"context_length": TOKENS, "vocab_size": IDS, "heads": 3, "width": 12, "layers": 1},
    }


def config_of(description: dict[str, Any], **fields: Any) -> ClipConfig:
    return ClipConfig(model=json.dumps(description), **fields)


def model_of(description: dict[str, Any]) -> Any:
    """open_clip's model, with weights at which every part matters."""
    torch.manual_seed(4)
    model = instantiate(read_definition(json.dumps(description)), "cpu").eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn(parameter.shape)
    return model


def pictures(size: int = SIZE) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(8))


def texts() -> Tensor:
    ids = torch.randint(0, IDS - 1, (3, TOKENS), generator=torch.Generator().manual_seed(9))
    for row, end in enumerate((2, 5, TOKENS - 1)):
        ids[row, end] = TEXT.end
    return ids


def feature(tower: Encoder, window: Tensor) -> Tensor:
    """Every block without slots, as the adapters run it."""
    with torch.no_grad():
        sequence, beside = tower.embed(window)
        for k in range(tower.steps):
            sequence = tower.step(k, tower.advance(k, sequence, 0), 0, beside=beside)
        return tower.pool(sequence, beside)


def said(config: ClipConfig, spec: WindowSpec = SPEC) -> str:
    with pytest.raises(InputError) as caught:
        build_clip_towers(config, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


LACKING = {
    "RN50": "has ModifiedResNet for images",
    "convnext_base": "has ConvNeXt for images",
    "coca_ViT-B-32": "writes captions (CoCa)",
    "roberta-ViT-B-32": "has a language model of another library for texts",
}


@pytest.mark.parametrize(("name", "why"), LACKING.items(), ids=LACKING)
def test_a_model_without_transformer_towers_is_named_with_others_to_choose(name: str, why: str) -> None:
    spec = WindowSpec(modalities=(Image(name="image"), Text(name="text")))
    assert said(ClipConfig(model=name, random_init=True), spec) == (
        f"encoder: model {name} {why}; choose one with vision transformers, such as ViT-B-16, ViT-L-14 or "
        "ViT-B-16-SigLIP"
    )


def test_a_text_alone_needs_no_image_tower() -> None:
    assert clip_architecture(ClipConfig(model="RN50"), WindowSpec(modalities=(Text(name="text"),)))["text"].steps == 12


def test_attention_of_another_kind_is_told() -> None:
    assert "attention blocks of its own kind" in said(config_of(described(vision={"qk_norm": True}), random_init=True))


def test_pictures_must_be_square() -> None:
    description = described(vision={"image_size": [SIZE, 2 * SIZE]})
    assert f"{SIZE} x {2 * SIZE} pixels, which are not square" in said(config_of(description, random_init=True))


def test_a_name_that_is_nearly_one_is_told_with_the_near_ones() -> None:
    assert said(ClipConfig(model="VitB16")) == (
        "encoder: model VitB16 is not known to open_clip; did you mean ViT-B-16 or ViT-S-16 or ViT-M-16 or ViT-L-16?"
    )
    assert "name one of its models" in said(ClipConfig(model="?"))
    assert read_definition("ViT-B/16").name == "ViT-B-16"


MISFITS = {
    "size": (Image(name="image", size=8), "signals: image has size 8, but its description takes 16"),
    "tokens": (
        msgspec.structs.replace(TEXT, tokens=8),
        "signals: text has 8 tokens, but its description takes 9",
    ),
    "vocabulary": (
        msgspec.structs.replace(TEXT, vocabulary=51),
        "signals: text has a vocabulary of 51, but its description has 50",
    ),
    "kind": (
        Stream(name="acoustic", rate_hz=10, samples=10),
        "encoder: kind clip takes images and texts, and acoustic is neither; change encoder.kind",
    ),
}


@pytest.mark.parametrize(("modality", "line"), MISFITS.values(), ids=MISFITS)
def test_signals_that_the_model_does_not_take_are_told(modality: Image | Text | Stream, line: str) -> None:
    spec = WindowSpec(modalities=(modality,), hop_s=1.0 if isinstance(modality, Stream) else 0.0)
    assert said(config_of(described(), random_init=True), spec) == line


def test_another_end_of_text_is_told() -> None:
    description = described(text={"pool_type": "eos", "eos_id": 7})
    assert said(config_of(description, random_init=True)) == (
        "signals: text has end 49, but its description looks for 7"
    )


def test_pictures_prepared_otherwise_than_the_weights_expect_are_told(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "weights.pt")
    description = {"model_cfg": described(), "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}
    assert said(config_of(description, pretrained=str(tmp_path / "weights.pt"))) == (
        "signals: image has mean (0.48145466, 0.4578275, 0.40821073), but its description takes (0.5, 0.5, 0.5)"
    )
    siglip = WindowSpec(modalities=(Image(name="image", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),))
    assert said(ClipConfig(model="ViT-B-16-SigLIP", pretrained="webli"), siglip) == (
        "signals: image has resize shortest, but ViT-B-16-SigLIP takes squash"
    )


ORDINARY = WindowSpec(modalities=(Image(name="image"), Text(name="text")))


def test_weights_must_be_named() -> None:
    line = said(ClipConfig(model="ViT-M-32"), ORDINARY)
    assert line == "encoder: ViT-M-32 has no weights: give pretrained: a local file, or --random-init"
    line = said(ClipConfig(model="ViT-B-16"), ORDINARY)
    assert line.startswith("encoder: ViT-B-16 has no weights: give pretrained: <tag> (one of openai, laion400m_e31, ")
    assert line.endswith(") or a local file, or --random-init")
    assert said(ClipConfig(model="ViT-B-16", pretrained="openia"), ORDINARY).startswith(
        "encoder: pretrained openia is neither a file nor a tag of ViT-B-16 (one of openai, "
    )


def test_weights_of_another_activation_are_told_with_the_model_that_has_it() -> None:
    assert said(ClipConfig(model="ViT-B-16", pretrained="openai"), ORDINARY) == (
        "encoder: weights openai were trained with QuickGELU; choose model: ViT-B-16-quickgelu"
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> str:
        raise FileNotFoundError("no answer\nand a long story")

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)


@pytest.mark.usefixtures("no_network")
def test_without_a_network_one_line_says_how_to_get_the_weights() -> None:
    line = said(ClipConfig(model="ViT-B-32-quickgelu", pretrained="openai"), ORDINARY)
    assert line == (
        "encoder: weights openai of ViT-B-32-quickgelu cannot be fetched (no answer); on a machine with network run  "
        'python -c "import open_clip; print(open_clip.download_pretrained(open_clip.get_pretrained_cfg('
        "'ViT-B-32-quickgelu', 'openai')))\" , copy the file that it names to this machine and give it as pretrained"
    )


class Harmful:
    """Would write a file when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def file_said(path: Path) -> str:
    line = said(config_of(described(), pretrained=str(path)))
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def test_a_file_that_could_run_code_is_not_opened(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "weights.bin"
    for write in (lambda: path.write_bytes(pickle.dumps(Harmful(mark))), lambda: torch.save(Harmful(mark), path)):
        write()
        assert "could run code, so that it is not opened" in file_said(path)
        assert not mark.exists()


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "model.pt"))
    assert file_said(tmp_path / "model.pt").startswith("is a TorchScript archive, a program and not weights alone")


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_damaged_file_is_told(small: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    save_file(small.state_dict(), path) if suffix == "safetensors" else torch.save(small.state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert file_said(path).startswith("is damaged")


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    for name, content in (("weights.npz", [1]), ("weights.pt", [1]), ("other.pt", {"state_dict": {}})):
        torch.save(content, tmp_path / name)
    assert file_said(tmp_path / "weights.npz").startswith("is no file of weights; give a .safetensors")
    assert file_said(tmp_path / "weights.pt").startswith("holds no weights")
    assert file_said(tmp_path / "other.pt").startswith("holds no weights")


OTHERS = {
    "lacks a block": (described(vision={"layers": 1}), "visual.transformer.resblocks.1.ln_1.weight is missing"),
    "has one more": (described(text={"layers": 3}), "transformer.resblocks.2.ln_1.weight is unknown to it"),
    "is wider": (described(vision={"width": 16}), "visual.class_embedding is [16], not [12]"),
}


@pytest.mark.parametrize(("description", "tensor"), OTHERS.values(), ids=OTHERS)
def test_weights_of_another_model_are_told(tmp_path: Path, description: dict[str, Any], tensor: str) -> None:
    torch.save(model_of(description).state_dict(), tmp_path / "weights.pt")
    line = file_said(tmp_path / "weights.pt")
    assert line == f"is of another model than its description (tensor {tensor})"


NO_MODELS = {
    "not JSON": ("{", "is not JSON"),
    "no parts": ("{}", "it needs embed_dim, vision_cfg, text_cfg at its top"),
    "an unknown entry": (json.dumps(described(vision={"colour": 1})), "is not one that open_clip can build"),
    "an unknown trunk": (json.dumps(timm_image(timm_model_name="none")), "is not one that open_clip can build"),
}


@pytest.mark.parametrize(("text", "line"), NO_MODELS.values(), ids=NO_MODELS)
def test_a_description_that_makes_no_model_is_told(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(text)
    found = said(ClipConfig(model=str(path), random_init=True))
    assert found.startswith(f"encoder: model {path} ")
    assert line in found
    assert "cannot be read" in said(ClipConfig(model=str(tmp_path / "none.json")))
