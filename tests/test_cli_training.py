"""train, adapt and evaluate as commands: what they leave, and each mistake as one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rep_edge.checkpoint import load_pretrained
from rep_edge.cli.app import main
from rep_edge.cli.training import method_names
from rep_edge.config import AdapterConfig, Config, SimulatedData, SwinConfig, TrainConfig
from rep_edge.model import build_model
from rep_edge.signals import Stream, WindowSpec

TINY = Config(
    signals=WindowSpec(
        hop_s=1.0,
        modalities=(
            Stream(name="acoustic", rate_hz=100.0, samples=200),
            Stream(name="seismic", rate_hz=50.0, samples=100),
        ),
    ),
    data=SimulatedData(runs_per_class=4, windows_per_run=2),
    encoder=SwinConfig(
        patch_bins={"acoustic": 4, "seismic": 2}, widths=(8, 16), depths=(1, 1), heads=2, feature_width=8
    ),
    adapter=AdapterConfig(slots=6, depth=2, bottleneck=4, shared_width=4),
    train=TrainConfig(epochs=1),
    adapt=TrainConfig(epochs=1),
)


class Trained(msgspec.Struct):
    """A configuration and the two models trained with it."""

    config: Path
    backbone: Path
    adapted: Path


def run(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["rep-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    assert isinstance(end.value.code, int)
    return end.value.code


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a wrong command ends in."""
    capsys.readouterr()
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert printed.err.splitlines()[-1] == lines[0]
    assert "Traceback" not in printed.err
    return lines[0]


def write(path: Path, config: Config) -> Path:
    path.write_bytes(msgspec.yaml.encode(config))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    config = write(folder / "tiny.yaml", TINY)
    assert run("train", config, "--out", folder / "backbone") == 0
    assert run("adapt", folder / "backbone", "--config", config, "--out", folder / "rep") == 0
    return Trained(config=config, backbone=folder / "backbone", adapted=folder / "rep")


@pytest.mark.slow
def test_two_devices_train_one_model(trained: Trained, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("rep-edge"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", program]
    command = [*launch, "adapt", str(trained.backbone), "--config", str(trained.config), "--out", str(tmp_path / "rep")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1/1: loss ") == 1, "the first device alone tells how far it is"
    alone, shared = load_pretrained(trained.adapted), load_pretrained(tmp_path / "rep")
    assert alone.state_dict().keys() == shared.state_dict().keys()


def test_train_and_adapt_say_what_they_do(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", trained.config, "--out", tmp_path / "backbone") == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    for words in ("train: 28 windows", "Truck 4", "epoch 1/1", "validation accuracy", str(tmp_path / "backbone")):
        assert words in printed.err
    for folder in (trained.backbone, trained.adapted):
        assert sorted(p.name for p in folder.iterdir()) == ["config.json", "history.json", "model.safetensors"]


def test_evaluate_writes_rows_and_a_picture(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", trained.backbone, trained.adapted, "--out", tmp_path) == 0
    rows = json.loads((tmp_path / "evaluation.json").read_text())
    assert {row["method"] for row in rows} == {"plain backbone", "REP learned"}
    assert {"method", "setting", "missing_rate", "seed", "metric", "scores", "low", "high"} == rows[0].keys()
    swept = {(row["setting"], row["missing_rate"]) for row in rows if row["missing_rate"] is not None}
    assert swept == {
        (setting, rate)
        for setting in ("acoustic missing", "seismic missing", "both missing")
        for rate in (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
    }
    assert (tmp_path / "evaluation.png").stat().st_size > 10_000
    assert "REP learned" in capsys.readouterr().out


def test_a_model_of_one_sensor_is_evaluated_without_a_picture(tmp_path: Path) -> None:
    signals = msgspec.structs.replace(TINY.signals, modalities=TINY.signals.modalities[:1])
    config = write(tmp_path / "one.yaml", msgspec.structs.replace(TINY, signals=signals))
    assert run("train", config, "--out", tmp_path / "one") == 0
    assert run("evaluate", tmp_path / "one", "--out", tmp_path) == 0
    assert [row["setting"] for row in json.loads((tmp_path / "evaluation.json").read_text())] == ["acoustic"]
    assert not (tmp_path / "evaluation.png").exists()


def test_models_that_differ_in_signals_or_data_are_not_compared(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = msgspec.structs.replace
    for what, changed in (
        ("signals", change(TINY, signals=change(TINY.signals, hop_s=0.5))),
        ("data", change(TINY, data=SimulatedData(runs_per_class=5, windows_per_run=2))),
    ):
        config = write(tmp_path / f"{what}.yaml", changed)
        assert run("train", config, "--out", tmp_path / what) == 0
        line = complaint(capsys, "evaluate", trained.backbone, tmp_path / what, "--out", tmp_path / "out")
        assert f"has other {what} than" in line
    assert not (tmp_path / "out").exists()


def test_models_that_differ_in_labels_are_not_compared(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rep_edge.checkpoint import save_pretrained

    save_pretrained(build_model(TINY, ("car", "walk")), tmp_path / "two", training={})
    out = tmp_path / "out"
    assert "has other labels than" in complaint(capsys, "evaluate", trained.backbone, tmp_path / "two", "--out", out)
    assert "knows the classes" in complaint(capsys, "evaluate", tmp_path / "two", "--out", out)
    assert not out.exists()


def test_a_backbone_of_another_configuration_is_refused_before_anything_is_said_of_its_parameters(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = msgspec.structs.replace
    config = write(tmp_path / "hop.yaml", change(TINY, signals=change(TINY.signals, hop_s=0.5)))
    capsys.readouterr()
    assert run("adapt", trained.backbone, "--config", config, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "another `signals` section" in told
    assert "parameters" not in told


def test_mistakes_are_one_line_and_leave_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert "cannot be read" in complaint(capsys, "train", tmp_path / "none.yaml", "--out", out)
    assert "no such folder" in complaint(capsys, "adapt", tmp_path / "none", "--config", trained.config, "--out", out)
    assert "no such folder" in complaint(capsys, "evaluate", tmp_path / "none", "--out", out)
    adapted_twice = complaint(capsys, "adapt", trained.adapted, "--config", trained.config, "--out", out)
    assert "adapted already" in adapted_twice
    (tmp_path / "wrong.yaml").write_text("signals: 3\n")
    assert "wrong.yaml" in complaint(capsys, "train", tmp_path / "wrong.yaml", "--out", out)
    assert not out.exists()


def test_a_finished_folder_is_not_trained_over(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(tmp_path / "other.yaml", msgspec.structs.replace(TINY, seed=1))
    assert "another configuration" in complaint(capsys, "train", other, "--out", trained.backbone)
    assert run("train", trained.config, "--out", trained.backbone) == 0
    assert "finished before" in capsys.readouterr().err


def test_an_out_that_is_a_file_is_refused(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in complaint(capsys, "train", trained.config, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == ""


def test_methods_of_one_kind_and_seed_are_told_apart_by_their_folder() -> None:
    one, other = build_model(TINY, ("a", "b")), build_model(msgspec.structs.replace(TINY, seed=1), ("a", "b"))
    assert method_names([Path("x"), Path("y")], [one, other]) == ["plain backbone", "plain backbone"]
    assert method_names([Path("x"), Path("y")], [one, one]) == ["plain backbone (x)", "plain backbone (y)"]
