"""Graphs of a bundle in memory, and what runs them on the desk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from rep_edge.calibration.windows import Values
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.processor import int8_saturates
from rep_edge.runtime.softmax import softmax
from rep_edge.signals import Example

BATCH = 32
"""Windows run at once."""

Array = NDArray[np.float32]


def read_graph(bundle: Bundle, pattern: str, precision: str) -> onnx.ModelProto:
    """A graph with its weights inside, every node under a name of its own."""
    model = onnx.load(bundle.graph_file(pattern, precision))
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)
    return model


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """A session on the CPU with all cores. Where its int8 products saturate, int8 is computed in float32."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if int8_saturates():
        # Without the fusion of Q/DQ into int8 nodes: those come at a later level.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def logits(model: onnx.ModelProto, values: Values) -> Array:
    """What a graph answers to windows, float32 [n, classes]."""
    session = open_session(model)
    return np.concatenate([session.run(["logits"], feed)[0] for feed in batches(values, BATCH)])


def divergence(reference: Array, other: Array) -> float:
    """Mean Kullback-Leibler divergence of the probabilities from the reference's, in nats; logits [n, classes]."""
    p, q = softmax(reference), softmax(other)
    return float((p * (np.log(p + 1e-12) - np.log(q + 1e-12))).sum(axis=-1).mean())


def batches(values: Values, size: int) -> Iterator[dict[str, Example]]:
    """The windows of all modalities, `size` at a time."""
    count = len(next(iter(values.values())))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in values.items()}


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The same graph with these tensors as outputs, in this order, and no others."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return shown


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """The float32 tensors that nodes make, in graph order."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    made = [name for node in model.graph.node for name in node.output]
    return [name for name in made if kinds.get(name) == onnx.TensorProto.FLOAT]


def float_names(model: onnx.ModelProto) -> set[str]:
    """All float32 tensors: inputs, constants, and what nodes make. Ids of a text are none."""
    given = (value.name for value in model.graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
    held = (name for name, tensor in constants(model).items() if tensor.data_type == onnx.TensorProto.FLOAT)
    return {*given, *held, *float_tensors(model)}


def without_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that has everything but the nodes, for those of another graph."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    return made


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Name -> initializer."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def before_logarithm(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that a logarithm depends on: there the rounding of a strong bin hides the weak ones."""
    makers = {name: node for node in model.graph.node for name in node.output}
    waiting = [node for node in model.graph.node if node.op_type == "Log"]
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.add(node.name)
            waiting += [makers[name] for name in node.input if name in makers]
    return found
