"""What is said where model, signals or weights do not fit, and that no file of weights runs code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import open_clip
import pytest
import torch
from clip_models import (
    SIZE,
    TEXT,
    config_of,
    described,
    model_of,
    said,
    timm_image,
)
from safetensors.torch import save_file
from torch import nn

from rep_edge.config import ClipConfig
from rep_edge.encoders.clip import clip_architecture
from rep_edge.encoders.clip_definition import read_definition
from rep_edge.signals import Image, Stream, Text, WindowSpec


@pytest.fixture(scope="module")
def small() -> Any:
    return model_of(described())


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
