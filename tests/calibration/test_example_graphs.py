"""fp16 and int8 graphs of texts and pictures: ids stay ids, embeddings keep the graph's own precision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from example_bundles import TEXT, example_graph, random_examples
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from text_graph import held, text_answers, text_graph

from rep_edge.calibration.drift import beyond_fp16, own_drift
from rep_edge.calibration.fp16 import convertible, rounded_to_fp16, to_fp16
from rep_edge.calibration.graphs import constants, float_names, logits
from rep_edge.calibration.int8 import METHODS, activation_ranges, gemm_as_matmul, linear_layers, to_int8
from rep_edge.signals import Example, Text, WindowSpec

TEXTS = WindowSpec(modalities=(TEXT,))
PRODUCTS = ["make_query", "make_key", "make_value", "make_logits"]


def texts(count: int = 40, seed: int = 1) -> dict[str, Example]:
    return random_examples(TEXTS, count, seed)


def kinds_of(model: onnx.ModelProto) -> dict[str, int]:
    return {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}


def held_in(model: onnx.ModelProto) -> dict[str, int]:
    return {name: tensor.data_type for name, tensor in constants(model).items()}


def half(values: NDArray[np.generic]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)


def test_the_hand_made_text_graph_is_its_numpy() -> None:
    np.testing.assert_allclose(logits(text_graph(), texts()), text_answers(texts()["text"]), rtol=1e-4, atol=1e-5)


def test_ids_are_no_floats() -> None:
    names = float_names(text_graph())
    assert not names & {"text", "end", "place", "place_row", "is_end", "last_axis"}
    assert {"table", "embedded", "causal", "logits", "is_end_float"} <= names


def test_in_fp16_ids_stay_and_the_embedding_is_fp16() -> None:
    model = text_graph()
    made = to_fp16(model, set())
    onnx.checker.check_model(made, full_check=True)
    assert kinds_of(made) == kinds_of(model) == {"text": TensorProto.INT64, "logits": TensorProto.FLOAT}
    kept = held_in(made)
    assert kept["table_fp16"] == kept["causal_fp16"] == TensorProto.FLOAT16
    assert kept["end"] == kept["ones"] == TensorProto.INT64
    assert "table" not in kept
    np.testing.assert_allclose(logits(made, texts()), text_answers(texts()["text"]), rtol=0.02, atol=0.02)


def test_the_rounded_graph_takes_the_embeddings_rows_rounded() -> None:
    spec = TEXTS
    model = named(example_graph([TEXT], 3, ()))
    values = random_examples(spec, 5)
    rows = half(constants_of(model)["text_matrix"])[values["text"]]
    wanted = half(half(rows.mean(axis=1)))
    np.testing.assert_allclose(logits(rounded_to_fp16(model, set()), values), wanted, rtol=2e-3, atol=1e-4)
    assert np.abs(wanted - constants_of(model)["text_matrix"][values["text"]].mean(axis=1)).max() > 0


def test_a_large_vocabulary_is_no_large_number() -> None:
    """Four times 49,407 would be beyond fp16."""
    spec = WindowSpec(modalities=(Text(name="text", tokens=6),))
    model = named(example_graph(spec.modalities, 3, ()))
    values = random_examples(spec, 5)
    assert values["text"].max() * 4 > 65504
    assert beyond_fp16(model, {"real": values}) == {}
    drifts = own_drift(model, convertible(model), {"real": values})
    assert set(drifts) == {"gather", "mean", "sum"}
    assert max(drifts.values()) < 0.001


def test_the_place_of_the_end_is_found_exactly_in_fp16() -> None:
    """Every place, and none: ArgMax reads numbers up to the length of the text, which fp16 holds exactly."""
    ids = np.full((TEXT.tokens + 1, TEXT.tokens), 1, np.int64)
    for row in range(TEXT.tokens):
        ids[row, row:] = TEXT.end
    model = text_graph()
    for made in (to_fp16(model, set()), rounded_to_fp16(model, set())):
        np.testing.assert_allclose(logits(made, {"text": ids}), text_answers(ids), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_in_int8_ids_and_embedding_stay_as_they_are(method: str) -> None:
    model = gemm_as_matmul(text_graph())
    layers = [node.name for node in linear_layers(model)]
    assert layers == PRODUCTS
    made = to_int8(model, activation_ranges(model, texts(), method), layers)
    onnx.checker.check_model(made, full_check=True)
    assert kinds_of(made)["text"] == TensorProto.INT64
    kept = held_in(made)
    assert kept["table"] == TensorProto.FLOAT
    np.testing.assert_array_equal(constants_of(made)["table"], held()["table"])
    matrices = {f"{name}_int8" for name in ("to_query", "to_key", "to_value", "head")}
    assert {name for name, kind in kept.items() if kind == TensorProto.INT8 and name.endswith("_int8")} == matrices
    found, wanted = logits(made, texts()), text_answers(texts()["text"])
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the names that `read_graph` would give."""
    for node, name in zip(model.graph.node, ("gather", "mean", "sum"), strict=True):
        node.name = name
    return model


def constants_of(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    return {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
