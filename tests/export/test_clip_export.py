"""CLIP becomes a bundle: one graph per pattern, one copy of the weights, the answers of the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from example_models import CLIP, PICTURES_AND_TEXTS, answers, exported, model_of, windows_of

from rep_edge.config import ClipConfig
from rep_edge.export.exporting import WEIGHTS, optimised_graph
from rep_edge.export.specialise import specialise
from rep_edge.model import RepModel
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier


@pytest.fixture(scope="module", params=["learned", "fed"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RepModel, Path]:
    model = model_of(ClipConfig(model=json.dumps(CLIP)), PICTURES_AND_TEXTS, request.param)
    out = tmp_path_factory.mktemp("clip") / "bundle"
    exported(model, out)
    return model, out


def test_the_device_says_what_the_model_says(clip: tuple[RepModel, Path]) -> None:
    model, path = clip
    classifier = Classifier.load(path, backend="onnxruntime-cpu")
    windows = windows_of(model.spec)
    for pattern in model.spec.patterns():
        rows = [{name: windows[name][i] for name in pattern} for i in range(4)]
        found = [list(p.probabilities.values()) for p in classifier.batch(rows, [0.0] * 4)]
        np.testing.assert_allclose(found, answers(model, windows, pattern), atol=1e-5)
        alone = [list(classifier(row).probabilities.values()) for row in rows]
        np.testing.assert_allclose(alone, found, atol=1e-5)


def test_one_copy_of_the_towers_lies_on_the_disk(clip: tuple[RepModel, Path]) -> None:
    model, path = clip
    towers = sum(p.numel() * p.element_size() for p in model.encoders.parameters())
    beside = sum(p.numel() * p.element_size() for p in (*model.memory.parameters(), *model.head.parameters()))
    graphs = list((path / "graphs").glob("*.onnx"))
    assert len(graphs) == 3
    # Each tensor begins on a page of its own.
    pages = 4096 * sum(len(onnx.load(g, load_external_data=False).graph.initializer) for g in graphs)
    assert towers * 0.9 < (path / WEIGHTS).stat().st_size < towers + 3 * beside + pages


def test_the_bundle_brings_its_tokenizer(clip: tuple[RepModel, Path]) -> None:
    model, path = clip
    manifest = open_bundle(path).manifest
    assert (path / manifest.tokenizers["text"].path).read_text() == model.tokenizers["text"]


def test_texts_may_be_cut_where_the_memory_does_not_pool_them(clip: tuple[RepModel, Path]) -> None:
    model, path = clip
    learned = model.config.adapter.memory == "learned"
    assert open_bundle(path).manifest.trimmed == (("text",) if learned else ())
    session = ort.InferenceSession(path / "graphs" / "text.fp32.onnx", providers=["CPUExecutionProvider"])
    [shape] = [value.shape for value in session.get_inputs()]
    assert shape[1:] == (["text_tokens"] if learned else [12])


def test_with_learned_memory_a_missing_tower_is_gone() -> None:
    model = model_of(ClipConfig(model=json.dumps(CLIP)), PICTURES_AND_TEXTS, "learned")
    text = optimised_graph(specialise(model, frozenset({"text"})), "text")
    assert [value.name for value in text.graph.input] == ["text"]
    assert not [node for node in text.graph.node if node.op_type == "Conv"], "the image's patches"
