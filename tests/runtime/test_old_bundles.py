"""Bundles of the first schema still open: their modalities name no kind, and their manifest no task."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import LABELS, PAIR, WEIGHTS, expected_logits, make_bundle, random_windows
from commands import run

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.manifest import SCHEMA_VERSION

FILES = {
    "acoustic+seismic": "graphs/acoustic+seismic.fp32.onnx",
    "acoustic": "graphs/acoustic.fp32.onnx",
    "seismic": "graphs/seismic.fp32.onnx",
}
HEALTH = {"windows": 9, "noise_low": 1.0, "noise_high": 2.0, "mean_low": -1.0, "mean_high": 1.0, "largest": 5.0}


def first_schema(bundle: Path) -> dict[str, Any]:
    """The manifest as schema 1 had it, key by key, of the files in a folder."""

    def file(path: str) -> dict[str, Any]:
        content = (bundle / path).read_bytes()
        return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    parity = {"windows": 8, "max_abs_error": 1e-7, "by_kind": {"real": 1e-7, "zeros": 0.0}, "tolerance": 1e-4}
    return {
        "schema_version": 1,
        "modalities": [
            {"name": "acoustic", "rate_hz": 800.0, "samples": 800, "channels": 1, "unit": "full scale"},
            {"name": "seismic", "rate_hz": 100.0, "samples": 100, "unit": "counts", "placeholder": 0.0},
        ],
        "hop_s": 0.5,
        "labels": list(LABELS),
        "graphs": [
            {"pattern": pattern, "precision": "fp32", "file": file(path), "parity": parity}
            for pattern, path in FILES.items()
        ],
        "weights": {"fp32": file(WEIGHTS)},
        "temperatures": {"acoustic+seismic": 1.0, "acoustic": 1.5, "seismic": 0.5},
        "provenance": {
            "created": "2025-06-01T12:00:00+00:00",
            "versions": {"torch": "2.11.0"},
            "dataset": "simulated",
            "memory": "learned",
            "seed": 0,
            "git_revision": "",
            "calibration": None,
        },
        "precisions": [],
        "confidence": {},
        "label_sets": None,
        "engines": [],
        "health": {"seismic": {**HEALTH, "clipped": 0.0, "stuck_s": 0.0}},
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = make_bundle(tmp_path / "bundle")
    (path / "manifest.json").write_text(json.dumps(first_schema(path)))
    return path


def test_it_opens_as_streams_of_one_class(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert (manifest.schema_version, manifest.task, manifest.outputs) == (1, "multiclass", 3)
    assert manifest.spec == PAIR
    assert (manifest.tokenizers, manifest.trimmed) == ({}, ())
    assert manifest.health["seismic"].largest == 5.0


def test_it_classifies_as_it_did(bundle: Path) -> None:
    classifier = Classifier.load(bundle, backend="onnxruntime-cpu")
    windows = random_windows()
    for pattern, temperature in (("acoustic+seismic", 1.0), ("acoustic", 1.5), ("seismic", 0.5)):
        live = {name: windows[name] for name in pattern.split("+")}
        raised = np.exp(expected_logits(live).astype(np.float64) / temperature)
        found = list(classifier(live).probabilities.values())
        np.testing.assert_allclose(found, raised / raised.sum(), rtol=1e-4)


def test_commands_take_it(bundle: Path, tmp_path: Path) -> None:
    shown = run("inspect", bundle)
    assert shown.code == 0
    assert "verified, schema version 1" in shown.out
    assert "classes: quiet, car, truck; a window every 0.5 s" in shown.out
    assert run("export-triton", bundle, "--out", tmp_path / "repository").code == 0
    assert run("compile", bundle, "--jetson", "6", "--out", tmp_path / "jetson").code == 0
    copied = open_bundle(tmp_path / "jetson" / "bundle").manifest
    # What names kinds again is no manifest of the first schema, which refuses them.
    assert (copied.spec, copied.schema_version) == (PAIR, SCHEMA_VERSION)


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_a_newer_schema_is_refused_before_anything_else_of_it_is_read(bundle: Path, version: int) -> None:
    newer = {"schema_version": version, "modalities": "of another form", "streams": [{"kind": "lidar"}]}
    (bundle / "manifest.json").write_text(json.dumps(newer))
    with pytest.raises(InputError) as caught:
        open_bundle(bundle)
    assert str(caught.value) == (
        f"{bundle / 'manifest.json'}: schema_version {version} is newer than this runtime knows ({SCHEMA_VERSION}); "
        "update rep-edge"
    )


def test_an_unknown_kind_is_one_line(bundle: Path) -> None:
    manifest = first_schema(bundle)
    manifest["modalities"][0]["kind"] = "lidar"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json: is no manifest \(.*lidar.*\); copy the bundle again$"):
        open_bundle(bundle)
