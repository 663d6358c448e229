"""export and bench as commands: what they print where, what they leave, and each mistake as one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from bundles import WEIGHTS, make_bundle
from commands import Done, run
from tiny import SENSORS, tiny_model

from rep_edge.checkpoint import save_pretrained
from rep_edge.config import RecordingsData
from rep_edge.export.exporting import Source
from rep_edge.model import build_model
from rep_edge.runtime.bundle import open_bundle

BOTH = "acoustic+seismic"


class Desk(NamedTuple):
    """A checkpoint and its bundle, which the command exported."""

    checkpoint: Path
    bundle: Path
    exported: Done


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench of few rounds."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("rep_edge.export.bench.ROUNDS", 3)
    monkeypatch.setattr("rep_edge.export.bench.REPEATS", 2)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    save_pretrained(tiny_model("none", stages=1), folder / "rep", training={}, dataset="simulated")
    return Desk(folder / "rep", folder / "bundle", run("export", folder / "rep", "--out", folder / "bundle"))


def test_export_says_what_it_does(desk: Desk) -> None:
    done = desk.exported
    assert (done.code, done.out) == (0, "")
    for name in (BOTH, "acoustic", "seismic"):
        assert f"{name}: tracing and folding\n" in done.err
        assert f"{name}: equals the trained model within " in done.err
    assert done.err.splitlines()[-1].startswith(f"bundle of 3 graphs written to {desk.bundle}, 0.")
    assert [path.name for path in desk.bundle.parent.iterdir() if path.name.startswith(".")] == []


def test_parity_is_checked_on_the_models_own_test_windows(desk: Desk) -> None:
    manifest = json.loads((desk.bundle / "manifest.json").read_text())
    assert "no real windows" not in desk.exported.err
    assert manifest["provenance"]["dataset"].startswith("simulated")
    assert {graph["parity"]["windows"] for graph in manifest["graphs"]} == {14 + 7 * 4}


def test_the_exported_bundle_is_inspected_and_measured(desk: Desk, tmp_path: Path) -> None:
    shown = run("inspect", desk.bundle).out
    assert f"{desk.bundle}: verified" in shown.replace("\n", "")
    assert "Sensors in training" in shown
    assert all(record.windows > 0 for record in open_bundle(desk.bundle).manifest.health.values())
    assert set(open_bundle(desk.bundle).manifest.health) == {"acoustic", "seismic"}
    figures = tmp_path / "deep" / "figures.json"
    done = run("bench", desk.bundle, "--json", figures)
    assert done.code == 0
    assert "latency of a window, ms" in done.out
    assert "seismic vs placeholder" in done.out
    assert "not measured: rivals (no checkpoint was given)" in done.out
    assert "timing 7 variants, 3 rounds" in done.err
    assert done.err.splitlines()[-1] == f"wrote {figures}"
    record = json.loads(figures.read_text())
    assert set(record["latency_ms"]["graph"]) == {BOTH, "acoustic", "seismic"}
    assert {"machine", "ratios", "bundle_mb", "pss_mb", "stream_overhead"} <= set(record)
    assert [path.name for path in figures.parent.iterdir()] == ["figures.json"]


def test_data_that_is_gone_is_told_and_noise_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_model("none", stages=1).config
    gone = msgspec.structs.replace(config, data=RecordingsData(root=str(tmp_path / "gone")))
    save_pretrained(build_model(gone, ("car", "walk")), tmp_path / "rep", training={})
    taken: list[Source] = []

    def export_bundle(model: object, out: Path, source: Source, tell: object) -> None:
        taken.append(source)
        raise SystemExit(0)

    monkeypatch.setattr("rep_edge.export.exporting.export_bundle", export_bundle)
    done = run("export", tmp_path / "rep", "--out", tmp_path / "bundle")
    assert done.err.startswith("no real windows to compare on, noise instead: ")
    assert "no training windows either: health is told by the defaults alone" in done.err
    assert f"{tmp_path / 'gone'}: there is no such folder" in done.err
    (source,) = taken
    assert (source.dataset, source.training) == ("not available", None)
    assert {name: values.shape[1:] for name, values in source.windows.items()} == {m.name: m.shape for m in SENSORS[:2]}


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def cut_off(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def other_classes(checkpoint: Path) -> None:
    record = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**record, "labels": ["car", "walk"]}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "rep: no such folder; give a folder that rep-edge train or adapt wrote"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: is no checkpoint record"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: cannot be read"),
        (cut_off, "model.safetensors: is truncated or damaged"),
        (other_classes, "has shape"),
    ],
    ids=["no folder", "no record", "damaged record", "no weights", "weights cut off", "another shape"],
)
@pytest.mark.parametrize("name", ["export", "bench", "adapt", "evaluate"])
def test_a_checkpoint_that_cannot_be_used(
    name: str, damage: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    model, rep = tiny_model("none", stages=1), tmp_path / "rep"
    save_pretrained(model, rep, training={})
    damage(rep)
    (tmp_path / "tiny.yaml").write_bytes(msgspec.yaml.encode(model.config))
    arguments = {
        "export": (rep, "--out", tmp_path / "out"),
        "bench": (make_bundle(tmp_path / "bundle"), "--checkpoint", rep, "--json", tmp_path / "out"),
        "adapt": (rep, "--config", tmp_path / "tiny.yaml", "--out", tmp_path / "out"),
        "evaluate": (rep, "--out", tmp_path / "out"),
    }
    before = content(tmp_path)
    assert words in run(name, *arguments[name]).error
    assert content(tmp_path) == before


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_out_that_is_there_is_left_alone(kind: str, desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "notes").write_text("mine")
    else:
        out.write_text("mine")
    before = content(tmp_path)
    error = run("export", desk.checkpoint, "--out", out).error
    assert error == f"error: {out}: is there already; choose another folder or remove it"
    assert content(tmp_path) == before


def test_a_graph_that_differs_leaves_nothing(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    def optimised_graph(_: object, name: str) -> onnx.ModelProto:
        """Every matrix is zero."""
        model = onnx.load(desk.bundle / f"graphs/{name}.fp32.onnx")
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
                tensor.raw_data = bytes(len(tensor.raw_data))
        return model

    monkeypatch.setattr("rep_edge.export.exporting.optimised_graph", optimised_graph)
    done = run("export", desk.checkpoint, "--out", tmp_path / "out")
    assert f"graph {BOTH}: differs from the model by " in done.error
    assert list(tmp_path.iterdir()) == []


def flip(bundle: Path) -> None:
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    weights[100] ^= 64
    (bundle / WEIGHTS).write_bytes(weights)


def manifest(bundle: Path, **fields: object) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def escape(bundle: Path) -> None:
    record = json.loads((bundle / "manifest.json").read_text())
    record["weights"]["fp32"]["path"] = "../outside.bin"
    manifest(bundle, weights=record["weights"])


BUNDLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "bundle: no such folder"),
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "manifest.json: cannot be read"),
    "a file is missing": (lambda bundle: (bundle / WEIGHTS).unlink(), "weights.fp32.bin: cannot be read"),
    "a flipped byte": (flip, "weights.fp32.bin: its content is not what was exported"),
    "a path that escapes": (escape, "path '../outside.bin' leaves the bundle"),
    "a newer schema": (lambda bundle: manifest(bundle, schema_version=99), "schema_version 99 is newer"),
}


@pytest.mark.parametrize("damage", BUNDLES)
@pytest.mark.parametrize("name", ["bench", "inspect", "classify", "stream"])
def test_a_bundle_that_cannot_be_used(name: str, damage: str, tmp_path: Path) -> None:
    change, words = BUNDLES[damage]
    bundle = make_bundle(tmp_path / "bundle")
    change(bundle)
    before = content(tmp_path)
    options = {"bench": ("--json", tmp_path / "out.json"), "inspect": ()}
    done = run(name, bundle, *options.get(name, ("--source", "acoustic=a.wav")))
    assert words in done.error
    assert done.err.count("\n") == 1
    assert content(tmp_path) == before


def test_a_bench_of_another_models_checkpoint(desk: Desk, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    done = run("bench", bundle, "--checkpoint", desk.checkpoint, "--json", tmp_path / "out.json")
    assert f"{desk.checkpoint}: has other signals or labels than {bundle}" in done.error
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_figures_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = run("bench", make_bundle(tmp_path / "bundle"), "--json", tmp_path / "file" / "out.json")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"error: {tmp_path / 'file' / 'out.json'}: cannot be written")
    assert (tmp_path / "file").read_text() == "mine"
