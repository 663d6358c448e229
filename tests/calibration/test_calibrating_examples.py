"""Whole bundles of pictures, texts and features calibrated: what they then hold, and how much data is in memory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from example_bundles import FEATURES, IMAGE_TEXT, make_example_bundle
from labelled_examples import example_sides, example_source
from onnx import TensorProto

from rep_edge.calibration import calibrating
from rep_edge.calibration.calibrating import CalibrationSettings, calibrate
from rep_edge.calibration.graphs import logits, read_graph
from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.softmax import softmax
from rep_edge.signals import WindowSpec

SETTINGS = CalibrationSettings(methods=("minmax",), budget=0.05, windows=36, coverage=0.8)


def calibrated(path: Path, spec: WindowSpec = IMAGE_TEXT) -> Bundle:
    bundle = open_bundle(make_example_bundle(path, spec=spec, trimmed=("text",) if spec is IMAGE_TEXT else ()))
    return calibrate(bundle, example_sides(bundle), SETTINGS, {}, lambda line: None).bundle


@pytest.mark.parametrize("spec", [IMAGE_TEXT, FEATURES], ids=["pictures and texts", "features"])
def test_every_pattern_has_every_precision_and_its_own_inputs(spec: WindowSpec, tmp_path: Path) -> None:
    bundle = calibrated(tmp_path / "bundle", spec)
    assert open_bundle(bundle.path).manifest == bundle.manifest
    patterns = [spec.pattern_name(pattern) for pattern in spec.patterns()]
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    for precision in ("fp16", "int8"):
        for pattern in patterns:
            graph = read_graph(bundle, pattern, precision).graph
            assert {value.name: value.type.tensor_type.elem_type for value in graph.input} == {
                name: kinds[spec[name].dtype] for name in pattern.split("+")
            }
    assert set(bundle.manifest.confidence) == set(patterns)
    assert bundle.manifest.tokenizers.keys() == {m.name for m in spec.modalities if m.dtype == "int64"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_runtime_applies_what_was_fitted(precision: str, tmp_path: Path) -> None:
    bundle = calibrated(tmp_path / "bundle", FEATURES)
    values = example_sides(bundle).test.values  # type: ignore[attr-defined]
    classifier = Classifier.load(bundle.path, backend="onnxruntime-cpu", precision=precision)
    for pattern in ("words+audio+vision", "audio"):
        live = {name: values[name][:1] for name in pattern.split("+")}
        z = logits(read_graph(bundle, pattern, precision), live)
        wanted = softmax(z, bundle.manifest.temperatures[pattern])[0]
        found = classifier({name: x[0] for name, x in live.items()})
        np.testing.assert_allclose(list(found.probabilities.values()), wanted, atol=1e-3)
        assert found.label_set


def test_pictures_are_as_many_as_memory_is_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    source = example_source(IMAGE_TEXT, ("a", "b", "c"), 30, seed=0)
    window = 4 * 3 * 8 * 8 + 8 * 6
    monkeypatch.setattr(calibrating, "LARGEST", 7 * window + 1)
    windows, recordings = calibrating._all_of(source)
    assert {len(values) for values in windows.values.values()} == {7} == {len(recordings)}
    np.testing.assert_array_equal(windows.values["text"][[0, -1]], source.values["text"][[0, -1]])


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks_are_refused_before_anything_is_done(task: str, tmp_path: Path) -> None:
    path = make_example_bundle(tmp_path / "bundle")
    bundle = open_bundle(path)
    other = bundle._replace(manifest=msgspec.structs.replace(bundle.manifest, task=task))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match=f"^{task} bundles cannot be calibrated"):
        calibrate(other, example_sides(bundle), SETTINGS, {}, lambda line: pytest.fail(line))
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
