"""MulT becomes a bundle of seven graphs that give a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_models import SEQUENCES, answers, exported, model_of, windows_of

from rep_edge.config import MultConfig
from rep_edge.runtime.classifier import Classifier


def test_mult_has_seven_graphs_of_a_value(tmp_path: Path) -> None:
    encoder = MultConfig(width=4, heads=2, layers=1, memory_layers=1)
    model = model_of(encoder, SEQUENCES, "learned", "regression")
    manifest = exported(model, tmp_path / "bundle")
    assert len(manifest.graphs) == 7
    assert max(graph.parity.max_abs_error for graph in manifest.graphs) < 1e-4
    classifier = Classifier.load(tmp_path / "bundle", backend="onnxruntime-cpu")
    windows = windows_of(SEQUENCES)
    for pattern in SEQUENCES.patterns():
        found = classifier({name: windows[name][0] for name in pattern})
        assert found.value == pytest.approx(float(answers(model, windows, pattern)[0, 0]), abs=1e-4)
        assert found.label == ("positive" if found.value > 0 else "negative")
