"""A graph of what CLIP's text tower is made of, by hand: ids, embedding, causal mask, the row at the end of text."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from example_bundles import TEXT
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WIDTH, CLASSES = 4, 3
HIDING = -1e4
"""Added to the score of a token that is not to be seen."""

Floats = NDArray[np.float32]


def held() -> dict[str, NDArray[Any]]:
    """The graph's constants by name."""
    rng = np.random.default_rng(4)
    shapes = {
        "table": (TEXT.vocabulary, WIDTH),
        "positions": (TEXT.tokens, WIDTH),
        **{f"to_{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")},
        "head": (WIDTH, CLASSES),
    }
    drawn = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return drawn | {
        "end": np.array(TEXT.end, np.int64),
        "earlier": np.arange(TEXT.tokens, 0, -1, dtype=np.float32),
        "causal": np.triu(np.full((TEXT.tokens, TEXT.tokens), HIDING, np.float32), 1),
        "last_axis": np.array([-1], np.int64),
        "token_axis": np.array([1], np.int64),
        "ones": np.ones((1, 1, WIDTH), np.int64),
    }


def text_graph() -> onnx.ModelProto:
    """text int64 [batch, 6] to logits [batch, 3]; the row at the end is taken twice, by GatherND and GatherElements."""
    nodes = [
        _node("Equal", "text", "end", "is_end"),
        _node("Cast", "is_end", "is_end_float", to=TensorProto.FLOAT),
        _node("Mul", "is_end_float", "earlier", "first"),
        _node("ArgMax", "first", "place", axis=1, keepdims=0),
        _node("Gather", "table", "text", "embedded"),
        _node("Add", "embedded", "positions", "rows"),
        *(_node("MatMul", "rows", f"to_{part}", part) for part in ("query", "key", "value")),
        _node("Transpose", "key", "key_turned", perm=[0, 2, 1]),
        _node("MatMul", "query", "key_turned", "scores"),
        _node("Add", "scores", "causal", "hidden"),
        _node("Softmax", "hidden", "weights", axis=-1),
        _node("MatMul", "weights", "value", "mixed"),
        _node("Add", "rows", "mixed", "left"),
        _node("Unsqueeze", "place", "last_axis", "place_column"),
        _node("GatherND", "left", "place_column", "taken", batch_dims=1),
        _node("Unsqueeze", "place_column", "last_axis", "place_cell"),
        _node("Mul", "place_cell", "ones", "place_row"),
        _node("GatherElements", "left", "place_row", "taken_row", axis=1),
        _node("Squeeze", "taken_row", "token_axis", "taken_again"),
        _node("Add", "taken", "taken_again", "pooled"),
        _node("MatMul", "pooled", "head", "logits"),
    ]
    ids = helper.make_tensor_value_info("text", TensorProto.INT64, ["batch", *TEXT.shape])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    constants = [numpy_helper.from_array(values, name) for name, values in held().items()]
    graph = helper.make_graph(nodes, "text", [ids], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def _node(operator: str, *names: str, **options: Any) -> onnx.NodeProto:
    """Inputs and then the output, after which the node is named."""
    *inputs, output = names
    return helper.make_node(operator, inputs, [output], name=f"make_{output}", **options)


def text_answers(ids: NDArray[np.int64]) -> Floats:
    """What the graph says, in numpy: [B, 3]."""
    c = held()
    rows = c["table"][ids] + c["positions"]
    query, key, value = (rows @ c[f"to_{part}"] for part in ("query", "key", "value"))
    scores = query @ key.transpose(0, 2, 1) + c["causal"]
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    rows = rows + (weights / weights.sum(axis=-1, keepdims=True)) @ value
    ends = (ids == TEXT.end).argmax(axis=1)
    return np.asarray(2 * rows[np.arange(len(ids)), ends] @ c["head"], np.float32)
