"""Checkpoints: read back exactly, and each way to break one is one clear line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from rep_edge.checkpoint import RECORD, WEIGHTS, load_pretrained, read_record, save_pretrained
from rep_edge.config import AdapterConfig, Config, SimulatedData, SwinConfig
from rep_edge.errors import InputError
from rep_edge.model import RepModel, build_model
from rep_edge.signals import Modality, WindowSpec

CONFIG = Config(
    signals=WindowSpec(
        hop_s=1.0,
        modalities=(
            Modality(name="acoustic", rate_hz=100.0, samples=200),
            Modality(name="seismic", rate_hz=50.0, samples=100),
        ),
    ),
    data=SimulatedData(),
    encoder=SwinConfig(
        patch_bins={"acoustic": 4, "seismic": 2}, widths=(8, 16), depths=(1, 1), heads=2, feature_width=8
    ),
)
ADAPTER = AdapterConfig(slots=6, depth=2, bottleneck=4, shared_width=4)


def model_of(memory: str | None) -> RepModel:
    model = build_model(CONFIG, ("car", "walk"))
    if memory is not None:
        model.attach_adapter(msgspec.convert({**msgspec.structs.asdict(ADAPTER), "memory": memory}, AdapterConfig))
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pretrained(model_of(None), tmp_path / "model", training={"epochs": 3}, dataset="toy")
    return tmp_path / "model"


def change_record(folder: Path, **fields: object) -> None:
    content = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**content, **fields}))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(InputError) as error:
        load_pretrained(folder)
    line = str(error.value)
    assert "\n" not in line
    for word in (str(folder), *words):
        assert word in line


@pytest.mark.parametrize("memory", [None, "fed", "learned", "prompts", "none"])
def test_a_model_comes_back_as_it_was_saved(memory: str | None, tmp_path: Path) -> None:
    model = model_of(memory)
    save_pretrained(model, tmp_path / "m", training={})
    back = load_pretrained(tmp_path / "m")
    assert (back.stage, back.labels, back.config) == (model.stage, model.labels, model.config)
    windows = {m.name: torch.randn(2, *m.shape) for m in CONFIG.signals.modalities}
    for pattern in CONFIG.signals.patterns():
        assert torch.equal(back(windows, pattern).logits, model(windows, pattern).logits)


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


@pytest.mark.parametrize("found", [2, "1", None])
def test_another_format(found: object, folder: Path) -> None:
    change_record(folder, format=found)
    refused(folder, "format", "update rep-edge")


def test_weights_of_another_shape(folder: Path) -> None:
    change_record(folder, labels=["car", "walk", "truck"])
    refused(folder, WEIGHTS, "has shape", "needs")


def test_a_record_of_another_stage(folder: Path) -> None:
    change_record(
        folder, stage="adapted", config={**msgspec.to_builtins(CONFIG), "adapter": msgspec.to_builtins(ADAPTER)}
    )
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
