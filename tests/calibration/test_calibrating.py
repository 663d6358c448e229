"""A whole bundle calibrated: what its manifest then says, what the runtime makes of it, and what a failure leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from labelled import noise_source, sides_of
from tiny import Exports

from rep_edge.calibration.calibrating import CalibrationSettings, Outcome, Sides, calibrate
from rep_edge.calibration.graphs import logits, read_graph
from rep_edge.errors import InputError
from rep_edge.runtime.amendment import amend
from rep_edge.runtime.bundle import Bundle, file_record, open_bundle
from rep_edge.runtime.manifest import EngineRecord
from rep_edge.runtime.softmax import softmax

PATTERNS = ("acoustic+seismic", "acoustic", "seismic")
SETTINGS = CalibrationSettings(methods=("minmax",), budget=0.02, windows=36, coverage=0.8)


class Calibrated:
    """A tiny bundle before and after."""

    def __init__(self, plain: Path, path: Path) -> None:
        shutil.copytree(plain, path)
        self.before = open_bundle(path)
        self.told: list[str] = []
        self.outcome: Outcome = calibrate(self.before, sides_of(self.before), SETTINGS, {"onnx": "1"}, self.told.append)
        self.bundle: Bundle = open_bundle(path)


@pytest.fixture(scope="module")
def calibrated(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    return Calibrated(exports["learned"].path, tmp_path_factory.mktemp("calibrated") / "bundle")


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_every_pattern_has_every_precision_and_shares_its_weights(calibrated: Calibrated) -> None:
    manifest = calibrated.bundle.manifest
    assert {(g.pattern, g.precision) for g in manifest.graphs} == {
        (pattern, precision) for pattern in PATTERNS for precision in ("fp32", "fp16", "int8")
    }
    assert set(manifest.weights) == {"fp32", "fp16", "int8"}
    sizes = {precision: record.size for precision, record in manifest.weights.items()}
    assert sizes["fp16"] < sizes["fp32"]
    assert {g.file.path for g in manifest.graphs if g.precision == "int8"} == {
        f"graphs/{p}.int8.onnx" for p in PATTERNS
    }
    assert calibrated.outcome.bundle.manifest == manifest


def test_fp32_is_untouched(calibrated: Calibrated) -> None:
    before, after = calibrated.before.manifest, calibrated.bundle.manifest
    assert [g for g in after.graphs if g.precision == "fp32"] == list(before.graphs)
    assert after.weights["fp32"] == before.weights["fp32"]


def test_the_record_says_what_was_used_and_what_it_costs(calibrated: Calibrated) -> None:
    manifest = calibrated.bundle.manifest
    used = manifest.provenance.calibration
    assert used is not None
    assert (used.dataset, used.windows, used.versions) == (
        "noise of the tests",
        dict.fromkeys(PATTERNS, 36),
        {"onnx": "1"},
    )
    assert len(set(used.sha256.values())) == 3
    for record in manifest.precisions:
        graph = calibrated.bundle.graph(record.pattern, record.precision)
        assert graph.parity.max_abs_error == max(graph.parity.by_kind.values()) <= graph.parity.tolerance
        assert {"real", "zeros", "huge", "noise"} <= set(graph.parity.by_kind)
        assert record.accuracy_fp32 - record.accuracy <= record.budget == 0.02
        assert (record.windows, record.method) == (120, "minmax" if record.precision == "int8" else "")


def test_graphs_on_disk_are_the_ones_that_were_judged(calibrated: Calibrated) -> None:
    validation = sides_of(calibrated.before).validation
    for record in calibrated.bundle.manifest.precisions:
        live = {name: validation.values[name] for name in record.pattern.split("+")}
        model = read_graph(calibrated.bundle, record.pattern, record.precision)
        accuracy = (logits(model, live).argmax(axis=-1) == validation.targets).mean()
        # On a CPU fp16 is more exact than it was judged as.
        assert accuracy == pytest.approx(record.accuracy, abs=0.0 if record.precision == "int8" else 0.02)


def test_confidence_is_fitted_for_each_pattern_and_checked_on_test_windows(calibrated: Calibrated) -> None:
    manifest = calibrated.bundle.manifest
    assert set(manifest.temperatures) == set(manifest.confidence) == set(PATTERNS)
    assert "temperature" in calibrated.told[0]
    left = {line.partition(":")[0] for line in calibrated.told if "left as trained" in line}
    assert {pattern for pattern, temperature in manifest.temperatures.items() if temperature == 1.0} == left
    assert left < set(PATTERNS), "labels that are wrong in a quarter of the windows went unnoticed"
    for pattern, record in manifest.confidence.items():
        said = softmax(calibrated.outcome.test[pattern].logits, manifest.temperatures[pattern])
        assert record.confidence == pytest.approx(said.max(axis=-1).mean())
        assert record.windows == 120
    assert manifest.label_sets is not None
    assert manifest.label_sets.coverage == 0.8


def test_the_runtime_applies_what_was_fitted(calibrated: Calibrated) -> None:
    from rep_edge.runtime.classifier import Classifier

    sides = sides_of(calibrated.before)
    window = {name: values[0] for name, values in sides.test.values.items()}
    for precision in ("fp32", "int8"):
        prediction = Classifier.load(calibrated.bundle.path, precision=precision)(window)
        model = read_graph(calibrated.bundle, PATTERNS[0], precision)
        z = logits(model, {name: values[None] for name, values in window.items()})[0]
        said = softmax(z, calibrated.bundle.manifest.temperatures[PATTERNS[0]])
        assert list(prediction.probabilities.values()) == pytest.approx(said.tolist(), abs=1e-3)
        assert prediction.label_set is not None
        assert prediction.label in prediction.label_set


def test_a_second_calibration_replaces_the_first_and_leaves_nothing_behind(
    calibrated: Calibrated, tmp_path: Path
) -> None:
    shutil.copytree(calibrated.bundle.path, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    settings = msgspec.structs.replace(SETTINGS, precisions=("int8",), windows=24, coverage=None)
    calibrate(bundle, sides_of(bundle), settings, {}, lambda line: None)
    again = open_bundle(tmp_path / "bundle").manifest
    listed = {g.file.path for g in again.graphs} | {w.path for w in again.weights.values()} | {"manifest.json"}
    assert set(files(tmp_path / "bundle")) == listed
    assert [g for g in again.graphs if g.precision == "fp16"] == [
        g for g in bundle.manifest.graphs if g.precision == "fp16"
    ]
    assert again.label_sets is None


def test_engines_of_replaced_graphs_are_taken_out(calibrated: Calibrated, tmp_path: Path) -> None:
    shutil.copytree(calibrated.bundle.path, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    engines = []
    for precision in ("fp32", "int8"):
        graph = bundle.graph("seismic", precision)
        engines.append(
            EngineRecord(
                pattern="seismic",
                precision=precision,
                file=file_record(f"engines/{precision}.engine", b"plan"),
                graph_sha256=graph.file.sha256,
                backend="tensorrt",
                backend_version="10.3",
                compute_capability="sm87",
                batch=(1, 1, 1),
            )
        )
    manifest = msgspec.structs.replace(bundle.manifest, engines=tuple(engines))
    bundle = amend(bundle, {engine.file.path: b"plan" for engine in engines}, manifest)
    settings = msgspec.structs.replace(SETTINGS, precisions=("int8",), windows=24)
    calibrate(bundle, sides_of(bundle), settings, {}, lambda line: None)
    left = open_bundle(tmp_path / "bundle")
    assert [engine.precision for engine in left.manifest.engines] == ["fp32"]
    assert not (tmp_path / "bundle" / "engines" / "int8.engine").exists()


def test_an_interruption_leaves_the_bundle_as_it_was(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(exports["learned"].path, tmp_path / "bundle")
    before = files(tmp_path / "bundle")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rep_edge.calibration.calibrating.calibrate_int8", interrupt)
    bundle = open_bundle(tmp_path / "bundle")
    with pytest.raises(KeyboardInterrupt):
        calibrate(bundle, sides_of(bundle), SETTINGS, {}, lambda line: None)
    assert files(tmp_path / "bundle") == before


def test_data_that_do_not_fit_are_refused_before_anything_is_done(exports: Exports) -> None:
    bundle = open_bundle(exports["learned"].path)
    sides = sides_of(bundle)
    spec, labels = bundle.manifest.spec, bundle.manifest.labels
    empty = noise_source(spec, labels, 30, 0)
    empty.targets = np.where(empty.targets == 1, 0, empty.targets)
    with pytest.raises(InputError, match="class truck has no windows"):
        calibrate(bundle, Sides(sides.train, empty, sides.test, ""), SETTINGS, {}, lambda line: None)
