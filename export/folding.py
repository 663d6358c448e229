"""Constants folded and idle nodes removed, so that a graph computes what depends on its inputs and nothing else."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

import onnx
import onnxruntime as ort
import onnxslim
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from rep_edge.export.dependence import independent_nodes

LARGE = 1 << 14
"""Elements from which a tensor is kept out of the tools' hands: they would copy it several times."""


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with fewer nodes: what is constant is computed, and onnxslim merges and removes.

    Takes `model` apart: it is not to be used afterwards.
    """
    # It tells of every node that it leaves to us.
    logging.getLogger("onnxslim").setLevel(logging.ERROR)
    _evaluate(model, independent_nodes(model))
    folded = _slim(model)
    again = independent_nodes(folded)
    if not again:
        return folded
    _evaluate(folded, again)
    return _slim(folded)


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxslim on the graph without its large weights: it moves them, but never reads them, and inputs do as well."""
    light = _without_weights(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer if _is_large(tensor)}
    slimmed: onnx.ModelProto = onnxslim.slim(light)
    graph = slimmed.graph
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    read = {name for node in graph.node for name in node.input}
    graph.initializer.extend(tensor for name, tensor in weights.items() if name in read)
    return slimmed


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large weights are inputs."""
    graph = model.graph
    small = [tensor for tensor in graph.initializer if not _is_large(tensor)]
    values = [_value(tensor) for tensor in graph.initializer if _is_large(tensor)]
    light = helper.make_graph(
        graph.node, graph.name, [*graph.input, *values], graph.output, small, value_info=graph.value_info
    )
    return helper.make_model(light, opset_imports=model.opset_import, ir_version=model.ir_version)


def _evaluate(model: onnx.ModelProto, constant: list[onnx.NodeProto]) -> None:
    """Replace `constant` nodes by their values, computed by ONNX Runtime in one run."""
    if not constant:
        return
    graph = model.graph
    idle = {id(node) for node in constant}
    kept = [node for node in graph.node if id(node) not in idle]
    made = {name for node in constant for name in node.output if name}
    read = {name for node in kept for name in node.input} | {output.name for output in graph.output}
    wanted = sorted(made & read)
    values = _run(model, constant, wanted)
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values)
    _drop_unused(graph)


def _run(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], wanted: list[str]) -> list[tuple[str, NDArray[Any]]]:
    """The values of `wanted` after running `nodes`, which need no input of the graph; large weights are fed to them."""
    nodes = list(nodes)
    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in used]
    large = [tensor for tensor in tensors if _is_large(tensor)]
    part = helper.make_graph(
        nodes,
        "constants",
        [_value(tensor) for tensor in large],
        [helper.make_empty_tensor_value_info(name) for name in wanted],
        [tensor for tensor in tensors if not _is_large(tensor)],
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    runnable = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = ort.InferenceSession(runnable.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {tensor.name: numpy_helper.to_array(tensor) for tensor in large}
    return list(zip(wanted, session.run(wanted, fed), strict=True))


def _is_large(tensor: onnx.TensorProto) -> bool:
    return bool(math.prod(tensor.dims) >= LARGE)


def _value(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Initializers that nothing reads any more, one by one: the others are not copied."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for index in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]
