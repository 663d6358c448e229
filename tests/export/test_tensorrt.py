"""Engines ahead of time: real builds of real bundles by TensorRT for RTX, and what a bundle says of them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest
from bundles import make_bundle
from example_bundles import Task, make_example_bundle
from labelled import sides_of
from tiny import Exports

from rep_edge.calibration.calibrating import CalibrationSettings, calibrate
from rep_edge.errors import InputError
from rep_edge.export.tensorrt import Order, compile_for, require_precisions
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.engines import room
from rep_edge.runtime.engines.build import BatchRange, build_engine
from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.library import TensorRT, find_tensorrt
from rep_edge.runtime.engines.lookup import find_engine
from rep_edge.runtime.manifest import EngineRecord

PATTERNS = ("acoustic+seismic", "acoustic", "seismic")
TARGETS = ("sm86", "sm89", "sm120")
BATCH = BatchRange(1, 1, 8)
ADA = Order(("sm89",), ("fp32",), BATCH)
QUICK = CalibrationSettings(methods=("minmax",), budget=0.05, windows=24)


@pytest.fixture(scope="module")
def rtx() -> TensorRT:
    return find_tensorrt("tensorrt-rtx")


@pytest.fixture(scope="module")
def calibrated(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny REP model's bundle in every precision."""
    path = tmp_path_factory.mktemp("calibrated") / "bundle"
    shutil.copytree(exports["learned"].path, path)
    bundle = open_bundle(path)
    return calibrate(bundle, sides_of(bundle, 60), QUICK, {}, lambda line: None).bundle


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "bundle"))


def files(bundle: Bundle) -> dict[str, bytes]:
    return {str(f.relative_to(bundle.path)): f.read_bytes() for f in sorted(bundle.path.rglob("*")) if f.is_file()}


def engine_cases(bundle: Bundle) -> list[tuple[str, str, str]]:
    """(pattern, precision, target) of every graph of a bundle."""
    return [(graph.pattern, graph.precision, target) for graph in bundle.manifest.graphs for target in TARGETS]


def place(record: EngineRecord) -> tuple[str, str, str]:
    return record.pattern, record.precision, record.compute_capability


def silent(line: str) -> None:
    """A build that nobody watches."""


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_pictures_and_texts_of_any_length_build(task: Task, rtx: TensorRT, tmp_path: Path) -> None:
    bundle = open_bundle(make_example_bundle(tmp_path / "bundle", task, trimmed=("text",)))
    made = compile_for(bundle, rtx, ADA, tmp_path / "logs", silent)
    assert [engine.pattern for engine in made.manifest.engines] == ["image+text", "image", "text"]
    assert open_bundle(bundle.path).manifest == made.manifest


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_graph_of_a_rep_model_builds_for_every_target(
    calibrated: Bundle, rtx: TensorRT, pattern: str, precision: str, target: str
) -> None:
    assert (pattern, precision, target) in engine_cases(calibrated)
    plan = build_engine(rtx, calibrated.graph_file(pattern, precision), BATCH, target)
    assert len(plan) > 10_000


def test_no_graph_is_left_out_of_the_test_above(calibrated: Bundle) -> None:
    expected = {(p, precision, t) for p in PATTERNS for precision in ("fp32", "fp16", "int8") for t in TARGETS}
    assert set(engine_cases(calibrated)) == expected
    converted = {(record.pattern, record.precision): record.converted for record in calibrated.manifest.precisions}
    assert len(converted) == 6
    assert all(converted.values()), "a graph that is called fp16 or int8 is fp32 throughout"


@pytest.mark.parametrize("kind", ["fed", "none, three sensors"])
def test_the_other_memory_and_three_sensors_build_too(exports: Exports, rtx: TensorRT, kind: str) -> None:
    bundle = open_bundle(exports[kind].path)
    for graph in bundle.manifest.graphs:
        assert build_engine(rtx, bundle.path / graph.file.path, BATCH, "sm89"), graph.pattern


def test_a_bundle_lists_its_engines_and_still_opens(toy: Bundle, rtx: TensorRT, tmp_path: Path) -> None:
    told: list[str] = []
    made = compile_for(toy, rtx, Order(TARGETS, ("fp32",), BATCH), tmp_path / "logs", told.append)
    opened = open_bundle(toy.path)
    assert opened == made
    assert {place(record) for record in opened.manifest.engines} == set(engine_cases(toy))
    record = opened.manifest.engines[0]
    assert record.file.path == f"engines/{record.pattern}.fp32.sm86.tensorrt-rtx{rtx.version}.engine"
    assert record.graph_sha256 == toy.graph(record.pattern, "fp32").file.sha256
    assert (record.backend, record.backend_version, record.batch) == ("tensorrt-rtx", rtx.version, (1, 1, 8))
    assert len(list((tmp_path / "logs").iterdir())) == 9
    assert all(str(tmp_path / "logs") in line for line in told if "building" in line)


def test_the_plan_is_raw_and_its_record_lies_beside(toy: Bundle, rtx: TensorRT, tmp_path: Path) -> None:
    made = compile_for(toy, rtx, ADA, tmp_path / "logs", silent)
    for record in made.manifest.engines:
        plan = (toy.path / record.file.path).read_bytes()
        assert plan == build_engine(rtx, toy.graph_file(record.pattern, "fp32"), BATCH, "sm89")
        note = (toy.path / record.file.path).with_suffix(".json").read_bytes()
        assert msgspec.json.decode(note, type=EngineRecord) == record


def test_an_engine_of_the_bundle_is_found_on_its_gpu(toy: Bundle, rtx: TensorRT, tmp_path: Path) -> None:
    compile_for(toy, rtx, ADA, tmp_path / "logs", silent)
    gpu = Gpu("NVIDIA RTX 2000 Ada", "sm89", "580.65.06, CUDA 13.0", 16 << 30)
    plan = find_engine(open_bundle(toy.path), "acoustic", "fp32", rtx, gpu, tmp_path / "cache")
    listed = {record.pattern: record.file.sha256 for record in open_bundle(toy.path).manifest.engines}
    assert hashlib.sha256(plan).hexdigest() == listed["acoustic"]


def test_compiling_again_changes_nothing(toy: Bundle, rtx: TensorRT, tmp_path: Path) -> None:
    made = compile_for(toy, rtx, ADA, tmp_path / "logs", silent)
    before = files(made)
    assert compile_for(made, rtx, ADA, tmp_path / "logs", silent) == made
    assert files(made) == before


def test_other_engines_of_the_same_place_are_replaced_and_the_rest_stays(
    toy: Bundle, rtx: TensorRT, tmp_path: Path
) -> None:
    first = compile_for(toy, rtx, Order(("sm86", "sm89"), ("fp32",), BATCH), tmp_path / "logs", silent)
    kept = [record for record in first.manifest.engines if record.compute_capability == "sm86"]
    second = compile_for(first, rtx, ADA._replace(batch=BatchRange(1, 4, 64)), tmp_path / "logs", silent)
    assert [record for record in second.manifest.engines if record.compute_capability == "sm86"] == kept
    assert {r.batch for r in second.manifest.engines if r.compute_capability == "sm89"} == {(1, 4, 64)}
    listed = {record.file.path for record in second.manifest.engines}
    notes = {path.removesuffix(".engine") + ".json" for path in listed}
    assert {name for name in files(second) if name.startswith("engines/")} == listed | notes
    assert open_bundle(toy.path) == second


def test_an_engine_by_an_older_version_is_replaced(toy: Bundle, rtx: TensorRT, tmp_path: Path) -> None:
    older = compile_for(toy, rtx._replace(version="1.6.0.1"), ADA, tmp_path / "logs", silent)
    assert all("1.6.0.1" in name for name in files(older) if name.startswith("engines/"))
    newer = compile_for(older, rtx, ADA, tmp_path / "logs", silent)
    assert {record.backend_version for record in newer.manifest.engines} == {rtx.version}
    assert not any("1.6.0.1" in name for name in files(newer))


@pytest.mark.parametrize("targets", [("sm90",), ("sm89", "sm87"), ("sm80+",)])
def test_an_unknown_target_is_told_before_anything_is_built(
    toy: Bundle, rtx: TensorRT, tmp_path: Path, targets: tuple[str, ...]
) -> None:
    before = files(toy)
    with pytest.raises(InputError, match=r"is no target of tensorrt-rtx .*; choose among sm75, "):
        compile_for(toy, rtx, ADA._replace(targets=targets), tmp_path / "logs", silent)
    assert files(toy) == before
    assert not (tmp_path / "logs").exists()


def test_a_full_disk_is_told_before_the_build(
    toy: Bundle, rtx: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, usage = files(toy), room.shutil.disk_usage(toy.path)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: usage._replace(free=1_000_000))
    with pytest.raises(InputError, match="has 1 MB of disk left and"):
        compile_for(toy, rtx, ADA, tmp_path / "logs", silent)
    assert files(toy) == before
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("survives", [0, 1, 3, 5])
def test_a_disk_that_fills_up_while_engines_are_written_leaves_the_bundle_as_it_was(
    toy: Bundle, rtx: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    from rep_edge.runtime import amendment

    made = compile_for(toy, rtx, ADA, tmp_path / "logs", silent)
    before, write = files(made), amendment.write_file
    written: list[Path] = []

    def fill(path: Path, content: bytes) -> None:
        if len(written) == survives:
            raise InputError(f"{path}: cannot be written (No space left on device)")
        written.append(path)
        write(path, content)

    monkeypatch.setattr(amendment, "write_file", fill)
    with pytest.raises(InputError, match="No space left"):
        compile_for(made, rtx, Order(TARGETS, ("fp32",), BATCH), tmp_path / "logs", silent)
    assert files(made) == before
    assert open_bundle(toy.path) == made


def test_a_failed_build_leaves_the_bundle_as_it_was(
    toy: Bundle, rtx: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, built = files(toy), []

    def fail_second(*arguments: object, **options: object) -> bytes:
        built.append(arguments)
        if len(built) == 2:
            raise InputError("acoustic: refused")
        return b"plan"

    monkeypatch.setattr("rep_edge.export.tensorrt.build_engine", fail_second)
    with pytest.raises(InputError, match="refused"):
        compile_for(toy, rtx, ADA, tmp_path / "logs", silent)
    assert files(toy) == before


def test_version_compatible_engines_are_refused_before_the_build(toy: Bundle, rtx: TensorRT, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no version-compatible engines"):
        compile_for(toy, rtx, ADA._replace(version_compatible=True), tmp_path / "logs", silent)
    assert not (tmp_path / "logs").exists()


def test_precisions_are_those_of_the_bundle(calibrated: Bundle, toy: Bundle) -> None:
    assert require_precisions(calibrated, ()) == ("fp32", "fp16", "int8")
    assert require_precisions(calibrated, ("int8", "int8")) == ("int8",)
    with pytest.raises(InputError, match=r"has no int8 graphs, only fp32; make them with  rep-edge calibrate$"):
        require_precisions(toy, ("fp32", "int8"))
