"""Checkpoints: read back exactly, and each way to break one is one clear line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from checkpoints import CONFIG, MEMORIES, REP, any_towers, complaint, model_of, same_answers, texts_and_picture
from safetensors.torch import load_file, save_file

from rep_edge.checkpoint import (
    EVALUATION,
    RECORD,
    WEIGHTS,
    apply_adapter,
    load_pretrained,
    read_record,
    save_adapter,
    save_pretrained,
)
from rep_edge.config import ClipConfig
from rep_edge.errors import InputError
from rep_edge.model import build_model
from rep_edge.signals import Image, Text, WindowSpec


@pytest.fixture
def towers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.model.build_encoders", any_towers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pretrained(model_of(None), tmp_path / "model", training={"epochs": 3}, dataset="toy")
    return tmp_path / "model"


def change_record(folder: Path, **fields: object) -> None:
    content = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**content, **fields}))


def refused(folder: Path, *words: str) -> None:
    line = complaint(lambda: load_pretrained(folder))
    for word in (str(folder), *words):
        assert word in line


@pytest.mark.parametrize("memory", [None, *MEMORIES])
def test_a_model_comes_back_as_it_was_saved(memory: str | None, tmp_path: Path) -> None:
    model = model_of(memory)
    save_pretrained(model, tmp_path / "m", training={})
    back = load_pretrained(tmp_path / "m")
    assert (back.stage, back.labels, back.config) == (model.stage, model.labels, model.config)
    same_answers(back, model)


def test_a_loaded_model_tells_where_it_came_from(folder: Path) -> None:
    (folder / EVALUATION).write_text("[]")
    origin = load_pretrained(folder).origin
    assert (origin.dataset, origin.training, origin.evaluation) == ("toy", {"epochs": 3}, b"[]")


def test_a_folder_of_the_first_format_is_read(folder: Path) -> None:
    record = json.loads((folder / RECORD).read_text())
    del record["tokenizers"], record["towers"], record["config"]["encoder"]["kind"]
    for stream in record["config"]["signals"]["modalities"]:
        del stream["kind"]
    (folder / RECORD).write_text(json.dumps({**record, "format": 1}))
    assert load_pretrained(folder).config == CONFIG


@pytest.mark.parametrize(
    ("texts", "files"),
    [
        ((), []),
        (("text",), ["tokenizer.json"]),
        (("title", "plot"), ["tokenizer.plot.json", "tokenizer.title.json"]),
    ],
)
@pytest.mark.usefixtures("towers")
def test_tokenizers_lie_in_the_folder(texts: tuple[str, ...], files: list[str], tmp_path: Path) -> None:
    model = texts_and_picture(*texts)
    save_pretrained(model, tmp_path / "m", training={})
    assert sorted(p.name for p in tmp_path.glob("m/*")) == [RECORD, WEIGHTS, *files]
    back = load_pretrained(tmp_path / "m")
    assert back.tokenizers == model.tokenizers
    windows = {m.name: torch.ones(2, *m.shape) for m in model.spec.modalities}
    assert torch.equal(back(windows, back.spec.complete).logits, model(windows, model.spec.complete).logits)


def test_clip_comes_back_without_its_origin_and_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 2, "width": 16, "head_width": 8},
        "text_cfg": {"context_length": 6, "vocab_size": 32, "layers": 2, "width": 16, "heads": 2},
    }
    text = Text(name="text", tokens=6, vocabulary=32, placeholder=(30, 31), end=31)
    config = msgspec.structs.replace(
        CONFIG,
        signals=WindowSpec(modalities=(Image(name="picture", size=32), text)),
        encoder=ClipConfig(model=json.dumps(sizes), pretrained="weights that are gone"),
    )
    model = build_model(config, ("no", "yes"), {"text": "{}"})
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, std=0.1)
    save_pretrained(model, tmp_path / "backbone", training={})
    monkeypatch.setattr("socket.socket.connect", None)
    monkeypatch.setattr("socket.getaddrinfo", None)
    backbone = load_pretrained(tmp_path / "backbone")
    model.attach_adapter(REP)
    save_adapter(model, tmp_path / "adapter", training={})
    back = apply_adapter(backbone, tmp_path / "adapter")
    windows = {"picture": torch.randn(2, 3, 32, 32), "text": torch.tensor([[30, 1, 2, 31, 0, 0], [30, 5, 31, 0, 0, 0]])}
    for pattern in back.spec.patterns():
        assert torch.equal(back(windows, pattern).logits, model.eval()(windows, pattern).logits)


@pytest.mark.parametrize("content", [None, b"", b'{"model": ', b"[]", b"\xff"])
@pytest.mark.usefixtures("towers")
def test_a_tokenizer_that_is_missing_or_damaged(content: bytes | None, tmp_path: Path) -> None:
    save_pretrained(texts_and_picture("text"), tmp_path, training={})
    path = tmp_path / "tokenizer.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    refused(tmp_path, "tokenizer.json", "not complete" if content is None else "truncated or damaged")


@pytest.mark.usefixtures("towers")
def test_a_record_cannot_have_any_file_read(tmp_path: Path) -> None:
    save_pretrained(texts_and_picture("text"), tmp_path / "m", training={})
    change_record(tmp_path / "m", tokenizers=["text", "../../secret"])
    refused(tmp_path / "m", "../../secret", "which is no text")


def test_the_record_says_where_the_model_came_from(folder: Path) -> None:
    record = read_record(folder)
    assert (record.dataset, record.training, record.labels) == ("toy", {"epochs": 3}, ("car", "walk"))
    assert {"rep-edge", "torch", "timm"} <= record.versions.keys()


def test_a_checkpoint_is_replaced_whole(folder: Path) -> None:
    other = model_of("fed")
    save_pretrained(other, folder, training={})
    assert load_pretrained(folder).stage == "adapted"
    assert sorted(p.name for p in folder.iterdir()) == [RECORD, WEIGHTS]


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        save_pretrained(model_of(None), tmp_path / "file", training={})
    with pytest.raises(InputError, match="cannot be written"):
        save_pretrained(model_of(None), tmp_path / "file" / "model", training={})
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_no_such_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no such folder")


@pytest.mark.parametrize("name", [WEIGHTS, RECORD])
def test_a_missing_file(name: str, folder: Path) -> None:
    (folder / name).unlink()
    refused(folder, name, "not complete")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_weights(kept: int, folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:kept])
    refused(folder, WEIGHTS, "truncated or damaged")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"format": 1}', b"not json"])
def test_a_damaged_record(content: bytes, folder: Path) -> None:
    (folder / RECORD).write_bytes(content)
    refused(folder, RECORD)


@pytest.mark.parametrize("found", [3, "1", None])
def test_another_format(found: object, folder: Path) -> None:
    change_record(folder, format=found)
    refused(folder, "format", "update rep-edge")


def test_weights_of_another_shape(folder: Path) -> None:
    change_record(folder, labels=["car", "walk", "truck"])
    refused(folder, WEIGHTS, "has shape", "needs")


def test_a_record_of_another_stage(folder: Path) -> None:
    change_record(folder, stage="adapted", config={**msgspec.to_builtins(CONFIG), "adapter": msgspec.to_builtins(REP)})
    refused(folder, WEIGHTS, "is missing")


def test_a_tensor_too_many(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, "stray": torch.zeros(1)}, folder / WEIGHTS)
    refused(folder, "stray", "unknown to the model")


def test_a_record_that_makes_no_model(folder: Path) -> None:
    config = msgspec.to_builtins(CONFIG)
    config["encoder"]["patch_bins"].pop("seismic")
    change_record(folder, config=config)
    with pytest.raises(InputError, match="patch_bins has no entry for seismic"):
        load_pretrained(folder)


def test_a_copy_elsewhere_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(folder)
    assert load_pretrained(tmp_path / "copy").labels == ("car", "walk")
