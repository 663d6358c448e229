"""fp32 graphs as int8 graphs with explicit Q/DQ: symmetric, per-channel weights, so that TensorRT reads them as well.

Ranges come from ONNX Runtime's calibrators, which need no GPU and no package that export does not have. NVIDIA Model
Optimizer has the same methods, but its ONNX part brings onnxruntime-gpu and CuPy, which break a plain onnxruntime.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from rep_edge.calibration.graphs import batches, constants, without_nodes
from rep_edge.calibration.windows import Values

METHODS = ("minmax", "entropy", "percentile")
"""How activation ranges are found: the extremes; the range that loses least information; 99.99 % of all values."""
BINS = 512
"""Of the histograms. With the calibrator's own 128, as many as int8 has steps, entropy has one range to choose from."""
LEVELS = 127
"""int8 steps to either side."""
LEAST_RANGE = 1e-8
"""Magnitude below which a tensor counts as zero."""
COLLECT = 8
"""Windows whose tensors are held at once."""


def gemm_as_matmul(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with Gemm as MatMul and Add on one row: ONNX Runtime fuses int8 into a MatMul that is not a Gemm.

    A MatMul of matrices would be taken back to a Gemm, so the row gets an axis of its own.
    """
    made = without_nodes(model)
    held = constants(model)
    added = {"row_axis": numpy_helper.from_array(np.array([1], np.int64), "row_axis")}
    for node in model.graph.node:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and not options.get("transA", 0)
        if node.op_type != "Gemm" or not plain or node.input[1] not in held:
            made.graph.node.add().CopyFrom(node)
            continue
        weight = node.input[1]
        if options.get("transB", 0):
            weight = f"{node.input[1]}_transposed"
            values = numpy_helper.to_array(held[node.input[1]]).T
            added[weight] = numpy_helper.from_array(np.ascontiguousarray(values), weight)
        made.graph.node.extend(_row_product(node, weight))
    made.graph.initializer.extend(added.values())
    drop_unused(made)
    return made


def _row_product(node: onnx.NodeProto, weight: str) -> list[onnx.NodeProto]:
    """[B, K] to [B, 1, K], times the weight, plus the bias where there is one, back to [B, N]."""
    source, result, name = node.input[0], node.output[0], node.name
    last = f"{result}_row"
    nodes = [
        helper.make_node("Unsqueeze", [source, "row_axis"], [f"{result}_source_row"], name=f"{name}_row"),
        helper.make_node("MatMul", [f"{result}_source_row", weight], [last], name=name),
    ]
    if len(node.input) > 2 and node.input[2]:
        nodes.append(helper.make_node("Add", [last, node.input[2]], [f"{last}_sum"], name=f"{name}_bias"))
        last = f"{last}_sum"
    return [*nodes, helper.make_node("Squeeze", [last, "row_axis"], [result], name=f"{name}_squeeze")]


def linear_layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The products with a constant matrix, in graph order: what int8 makes faster."""
    matrices = {name for name, tensor in constants(model).items() if len(tensor.dims) == 2}
    return [
        n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in matrices and n.input[0] not in matrices
    ]


def activation_ranges(model: onnx.ModelProto, values: Values, method: str) -> dict[str, float]:
    """Tensor that a MatMul reads or makes -> magnitude at which int8 is to end. method: one of METHODS."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    chosen = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}[method]
    histogram = {} if method == "minmax" else {"num_bins": BINS}
    options = {"symmetric": True, **histogram} | ({"percentile": 99.99} if method == "percentile" else {})
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "graph.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            path,
            ["MatMul"],
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod[chosen],
            extra_options=options,
        )
        for feed in batches(values, COLLECT):
            calibrator.collect_data(_Once(feed))
        found = calibrator.compute_data()
    names = list(found.keys())  # It is no mapping that could be iterated over.
    return {name: _magnitude(found[name]) for name in names}


def _magnitude(range_: Any) -> float:
    """The largest magnitude that a tensor's range holds."""
    low, high = range_.range_value
    return float(max(abs(np.min(low)), abs(np.max(high))))


def to_int8(model: onnx.ModelProto, ranges: Mapping[str, float], layers: Collection[str]) -> onnx.ModelProto:
    """The graph with Q/DQ before the named layers and on their weights; all else reads and makes what it did.

    Scales are symmetric: q = clip(round(x / s), -127, 127), s the largest magnitude / 127, of the tensor for an input
    and of each column for a weight. ONNX Runtime's quantiser would hand the rounded input to its other readers too.
    """
    made = without_nodes(model)
    held = constants(model)
    added: dict[str, onnx.TensorProto] = {"int8_zero": numpy_helper.from_array(np.int8(0), "int8_zero")}
    rounded: set[str] = set()
    for node in model.graph.node:
        if node.name not in layers:
            made.graph.node.add().CopyFrom(node)
            continue
        source, weight = node.input
        if source not in rounded:
            rounded.add(source)
            scale = np.float32(max(ranges[source], LEAST_RANGE) / LEVELS)
            added[f"{source}_scale"] = numpy_helper.from_array(scale, f"{source}_scale")
            made.graph.node.extend(_round_trip(source))
        if f"{weight}_int8" not in added:
            for tensor in _int8_columns(weight, numpy_helper.to_array(held[weight])):
                added[tensor.name] = tensor
            made.graph.node.append(_columns_back(weight))
        layer = made.graph.node.add()
        layer.CopyFrom(node)
        layer.input[0], layer.input[1] = f"{source}_rounded", f"{weight}_rounded"
    made.graph.initializer.extend(added.values())
    drop_unused(made)
    return made


def _round_trip(source: str) -> list[onnx.NodeProto]:
    """QuantizeLinear and DequantizeLinear of an activation, as `<source>_rounded`."""
    pair, scale = [f"{source}_scale", "int8_zero"], f"{source}_int8"
    there = helper.make_node("QuantizeLinear", [source, *pair], [scale], name=f"{source}_q")
    return [there, helper.make_node("DequantizeLinear", [scale, *pair], [f"{source}_rounded"], name=f"{source}_dq")]


def _int8_columns(name: str, values: NDArray[np.float32]) -> list[onnx.TensorProto]:
    """A weight [inputs, outputs] as int8 with a scale for each output."""
    scales = (np.maximum(np.abs(values).max(axis=0), LEAST_RANGE) / LEVELS).astype(np.float32)
    columns = np.clip(np.rint(values / scales), -LEVELS, LEVELS).astype(np.int8)
    zeros = np.zeros(len(scales), np.int8)
    parts = {f"{name}_int8": columns, f"{name}_scale": scales, f"{name}_zero": zeros}
    return [numpy_helper.from_array(part, key) for key, part in parts.items()]


def _columns_back(name: str) -> onnx.NodeProto:
    inputs = [f"{name}_int8", f"{name}_scale", f"{name}_zero"]
    return helper.make_node("DequantizeLinear", inputs, [f"{name}_rounded"], name=f"{name}_dq", axis=1)


def drop_unused(model: onnx.ModelProto) -> None:
    """Take out the initializers that no node reads."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


class _Once:
    """ONNX Runtime's reader of calibration data, for one batch."""

    def __init__(self, feed: dict[str, Any]) -> None:
        self.feeds = [feed]

    def get_next(self) -> dict[str, Any] | None:
        return self.feeds.pop() if self.feeds else None


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser warns of preparation that the exported graphs have had, on the root logger, and prints."""
    import contextlib
    import io

    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
