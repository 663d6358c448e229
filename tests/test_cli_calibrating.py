"""calibrate as a command: what it prints and leaves, and each mistake as one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from bundles import make_bundle
from commands import Done, run
from tiny import tiny_model

from rep_edge.checkpoint import save_pretrained
from rep_edge.config import SimulatedData
from rep_edge.model import build_model

CLASSES = ("Polaris", "Warhog", "Truck", "motor", "tesla", "mustang", "walk")


class Desk(NamedTuple):
    """A checkpoint, its bundle before, its bundle after, and what calibrate said."""

    checkpoint: Path
    plain: Path
    bundle: Path
    done: Done


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    tiny = tiny_model("none", stages=1, labels=CLASSES)
    config = msgspec.structs.replace(tiny.config, data=SimulatedData(runs_per_class=4, windows_per_run=8))
    model = build_model(config, CLASSES)
    model.attach_adapter(config.adapter)
    model.load_state_dict(tiny.state_dict())
    save_pretrained(model, folder / "rep", training={}, dataset="simulated")
    assert run("export", folder / "rep", "--out", folder / "plain").code == 0
    shutil.copytree(folder / "plain", folder / "bundle")
    options = ("--precision", "int8", "--method", "minmax", "--budget", "2", "--windows", "28", "--coverage", "0.8")
    done = run("calibrate", folder / "bundle", "--data", folder / "rep", *options)
    return Desk(folder / "rep", folder / "plain", folder / "bundle", done)


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_it_says_what_it_does_and_what_came_of_it(desk: Desk) -> None:
    assert desk.done.code == 0
    for pattern in ("acoustic+seismic", "acoustic", "seismic"):
        assert f"{pattern}: temperature " in desk.done.err
    assert "layers converted" in desk.done.err
    _, title, sets = desk.done.out.partition("Label sets, to hold the true class in 80.0 %")
    assert title
    for pattern in ("acoustic+seismic", "acoustic", "seismic"):
        assert f"│ {pattern} " in sets
    rows = [line for line in desk.done.out.splitlines() if "int8" in line and "2.0 %" in line]
    assert len(rows) == 3, "the budget of every graph is not told"
    assert desk.done.err.splitlines()[-1].startswith(f"amended {desk.bundle}; pictures and figures in ")


def test_pictures_and_figures_lie_beside_the_bundle(desk: Desk) -> None:
    report = desk.bundle.with_name("bundle-calibration")
    assert sorted(file.name for file in report.iterdir()) == ["calibration.json", "drift.png", "reliability.png"]
    assert (report / "drift.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((report / "calibration.json").read_text())
    assert {"acoustic.int8", "seismic.int8", "acoustic+seismic.int8"} == set(record["drift"])
    assert {entry["precision"] for entry in record["precisions"]} == {"int8"}


def test_the_bundle_is_inspected_and_classifies(desk: Desk) -> None:
    done = run("inspect", desk.bundle, "--json")
    manifest = json.loads(done.out)
    assert {graph["precision"] for graph in manifest["graphs"]} == {"fp32", "int8"}
    assert run("inspect", desk.bundle).code == 0


def test_confidence_alone_leaves_the_graphs_as_they_are(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(desk.plain, tmp_path / "bundle")
    done = run(
        *("calibrate", tmp_path / "bundle", "--data", desk.checkpoint),
        *("--precision", "fp32", "--report", tmp_path / "report"),
    )
    assert done.code == 0
    assert not (tmp_path / "report" / "drift.png").exists()
    before, after = files(desk.plain), files(tmp_path / "bundle")
    assert {name for name in after if before.get(name) != after[name]} == {"manifest.json"}
    assert json.loads(after["manifest.json"])["confidence"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--precision", "fp8"], "--precision: 'fp8' is not known; give fp16,int8"),
        (["--precision", ","], "--precision: names none"),
        (["--method", "kl"], "--method: 'kl' is not known; give auto, minmax, entropy, percentile"),
        (["--budget", "-1"], "--budget: must be 0 to 100 points"),
        (["--windows", "0"], "--windows: must be at least 1"),
        (["--coverage", "1"], "--coverage: must be above 0 and below 1"),
    ],
)
def test_options_that_make_no_sense(desk: Desk, options: list[str], line: str) -> None:
    assert line in run("calibrate", desk.plain, "--data", desk.checkpoint, *options).error


def test_data_of_another_kind(desk: Desk, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "other")
    before = files(bundle)
    done = run("calibrate", bundle, "--data", desk.checkpoint)
    assert "acoustic has windows of [1, 400] at 200 Hz and the bundle takes [1, 800] at 800 Hz" in done.error
    assert files(bundle) == before


def test_too_few_validation_windows(desk: Desk, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(desk.checkpoint, few)
    record = json.loads((few / "config.json").read_text())
    record["config"]["data"]["windows_per_run"] = 2
    (few / "config.json").write_text(json.dumps(record))
    shutil.copytree(desk.plain, tmp_path / "bundle")
    done = run("calibrate", tmp_path / "bundle", "--data", few)
    assert "14 validation windows are too few" in done.error
    assert files(tmp_path / "bundle") == files(desk.plain)
