"""MulT through train, adapt and evaluate on a generated file: a value to find, saved tables, towers carried over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from rep_edge.checkpoint import load_pretrained
from rep_edge.cli.app import main
from rep_edge.config import Config, config_from
from rep_edge.data.batches import WindowBatches
from rep_edge.data.splits import open_splits
from rep_edge.errors import InputError
from rep_edge.evaluation import answers
from rep_edge.model import starting_model
from rep_edge.parameters import parameter_line
from rep_edge.training import train_backbone

SCRIPT = Path(__file__).parents[1] / "examples" / "make_sentiment.py"


def feature_file(path: Path, *widths: int) -> Path:
    sizes = ("--lengths", "5", "7", "6", "--widths", *map(str, widths))
    command = [sys.executable, str(SCRIPT), "mosi", str(path), "--samples", "120", *sizes]
    subprocess.run(command, check=True, capture_output=True)
    return path


def plain_config(file: Path, tables: Path, *widths: int) -> dict[str, object]:
    lengths = dict(zip(("text", "audio", "vision"), (5, 7, 6), strict=True))
    sequences = [
        {"kind": "features", "name": name, "length": length, "width": width}
        for (name, length), width in zip(lengths.items(), widths, strict=True)
    ]
    return {
        "task": "regression",
        "metric": "acc2_nonzero",
        "signals": {"modalities": sequences},
        "data": {"source": "sentiment", "name": "CMU-MOSI", "file": str(file)},
        "encoder": {"kind": "mult", "width": 4, "heads": 2, "layers": 1, "memory_layers": 1},
        "adapter": {"memory": "learned", "slots": 6, "depth": 2, "bottleneck": 4, "shared_width": 4},
        "train": {"epochs": 1, "batch_size": 32},
        "adapt": {"epochs": 1, "batch_size": 32, "missing": ["audio", "vision"], "tables": str(tables)},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mosi")


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    plain = plain_config(feature_file(folder / "features.pkl", 6, 4, 3), folder / "tables", 6, 4, 3)
    (folder / "mosi.yaml").write_text(json.dumps(plain))  # JSON is YAML.
    return config_from(plain)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["rep-edge", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_commands_train_adapt_and_judge(
    folder: Path, config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yaml = folder / "mosi.yaml"
    assert command(monkeypatch, "train", yaml, "--out", folder / "backbone") == 0
    assert command(monkeypatch, "adapt", folder / "backbone", "--config", yaml, "--out", folder / "rep") == 0
    judged = command(monkeypatch, "evaluate", folder / "backbone", folder / "rep", "--out", folder / "evaluation")
    assert judged == 0
    told = capsys.readouterr()
    assert "validation acc2_nonzero" in told.err
    assert "stage 2 trains" in told.err
    assert "Acc-2 (zeros left out)" in told.out
    rows = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    assert {row["metric"] for row in rows} == {"acc2_nonzero"}
    assert {"acc2_nonneg", "f1_nonneg", "acc2_nonzero", "f1_nonzero", "mae"} <= rows[0]["scores"].keys()
    assert len({row["setting"] for row in rows if row["missing_rate"] is None}) == 7
    tables = sorted(path.name for path in (folder / "tables").iterdir())
    assert "CMU-MOSI_train_audio+vision_0.7.json" in tables
    assert "CMU-MOSI_test_text+audio+vision_0.5.json" in tables


def test_a_batch_in_parts_has_the_same_gradient(config: Config, folder: Path) -> None:
    whole = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, batch_size=60))
    parts = msgspec.structs.replace(whole, train=msgspec.structs.replace(whole.train, micro_batch=7))
    still = [quiet(c) for c in (whole, parts)]
    one, other = (train_backbone(c, open_splits(c), folder / f"part{i}") for i, c in enumerate(still))
    # Weights whose gradient is zero but for rounding, such as the keys' biases, go their own ways under Adam.
    validation = WindowBatches(open_splits(whole).validation)
    said = [answers(model, validation, config.signals.complete) for model in (one, other)]
    np.testing.assert_allclose(said[0], said[1], atol=1e-4)
    untrained = starting_model(still[0], ("negative", "positive"))
    assert abs(answers(untrained, validation, config.signals.complete) - said[0]).max() > 1e-2


def quiet(config: Config) -> Config:
    """Without dropout, whose draws depend on how a batch is cut."""
    encoder = msgspec.to_builtins(config.encoder) | dict.fromkeys(DROPOUTS, 0.0)
    return config_from(msgspec.to_builtins(config) | {"encoder": encoder})


DROPOUTS = ("attention_dropout", "relu_dropout", "residual_dropout", "embedding_dropout", "output_dropout")


def test_towers_are_carried_over_to_features_of_other_widths(
    config: Config, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder / "mosei"
    train_backbone(config, open_splits(config), source)
    plain = plain_config(feature_file(folder / "other.pkl", 6, 5, 3), folder / "tables", 6, 5, 3)
    encoder = {**msgspec.to_builtins(config.encoder), "pretrained": str(source)}
    other = config_from(plain | {"encoder": encoder})
    frozen = msgspec.structs.replace(other, train=msgspec.structs.replace(other.train, trainable="head"))
    model = train_backbone(frozen, open_splits(frozen), folder / "carried")
    assert f"towers carried over from {source}, all but audio.project" in capsys.readouterr().err
    held = load_pretrained(source).encoders.state_dict()
    for name, weights in model.encoders.state_dict().items():
        assert ("audio.project" in name) != (weights.shape == held[name].shape and torch.equal(weights, held[name]))
    wrong = config_from(plain | {"encoder": {**encoder, "width": 6}})
    with pytest.raises(InputError, match="use the same encoder section"):
        train_backbone(wrong, open_splits(wrong), folder / "wrong")


def test_parameters_are_counted(config: Config) -> None:
    model = starting_model(config, ("negative", "positive"))
    towers = sum(p.numel() for p in model.encoders.parameters())
    line = parameter_line(model, config)
    model.attach_adapter(config.adapter)
    trained = sum(p.numel() for p in model.memory.parameters() if p.requires_grad)
    assert f"trains {trained:,} parameters" in line
    assert f"backbone's {towers:,}" in line


def test_random_weights_are_for_clip_alone(
    config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "train", folder / "mosi.yaml", "--out", folder / "x", "--random-init") == 1
    assert "--random-init: is for an encoder of kind clip" in capsys.readouterr().err
