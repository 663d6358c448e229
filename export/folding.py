"""Constants folded and idle nodes removed, so that a graph computes what depends on its inputs and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
from onnx import numpy_helper

from rep_edge.export.dependence import independent_nodes


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with fewer nodes. onnxslim merges and removes; what it leaves constant is computed here."""
    # It tells of every node that it leaves to us.
    logging.getLogger("onnxslim").setLevel(logging.ERROR)
    slimmed: onnx.ModelProto = onnxslim.slim(model)
    folded = _evaluate(slimmed, independent_nodes(slimmed))
    again: onnx.ModelProto = onnxslim.slim(folded)
    return again


def _evaluate(model: onnx.ModelProto, constant: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Replace `constant` nodes by their values, computed by ONNX Runtime in one run."""
    if not constant:
        return model
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
    return model


def _run(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], wanted: list[str]
) -> list[tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]]:
    """The values of `wanted` after running `nodes`, which need no input."""
    nodes = list(nodes)
    used = {name for node in nodes for name in node.input}
    part = onnx.helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.helper.make_empty_tensor_value_info(name) for name in wanted],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    runnable = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = ort.InferenceSession(runnable.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(zip(wanted, session.run(wanted, {}), strict=True))


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Initializers that nothing reads any more."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
