"""How large a graph's tensors become and how far they drift from fp32, measured on windows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from rep_edge.calibration.fp16 import FP16_LEAST, FP16_MAX, convertible, round_trip
from rep_edge.calibration.graphs import batches, constants, float_names, float_tensors, open_session, with_outputs
from rep_edge.calibration.windows import Values

HEADROOM = 4.0
"""A tensor may become this many times as large as it was seen before fp16 ends."""
LAYERS = ("MatMul", "Gemm", "LayerNormalization", "Softmax")
"""Operators whose drift people look at."""
AT_ONCE = 8
"""Windows whose tensors are held at once ..."""
LARGE = 100e6
"""... of graphs with so many bytes of constants; of larger ones fewer: CLIP's towers take 1 GB a window, twice."""


class LayerDrift(NamedTuple):
    """A layer in graph order and the relative error of what it gives, with all that drifted before it."""

    name: str
    operator: str
    error: float


def beyond_fp16(model: onnx.ModelProto, kinds: Mapping[str, Values]) -> dict[str, str]:
    """Node -> why its numbers do not fit into fp16. kinds: kind of window -> windows."""
    peaks = _peaks(model, kinds.values())
    found: dict[str, str] = {}
    for node in convertible(model):
        largest = max((peaks.get(name, 0.0) for name in (*node.input, *node.output)), default=0.0)
        if not largest * HEADROOM <= FP16_MAX:
            found[node.name] = f"reaches {largest:.1e}, and fp16 ends at {FP16_MAX:.0f}"
        elif (least := _least_constant(model, node)) < FP16_LEAST:
            found[node.name] = f"holds {least:.1e}, and fp16 is exact from {FP16_LEAST:.0e} on"
    return found


def own_drift(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], kinds: Mapping[str, Values]) -> dict[str, float]:
    """Node -> relative error where it alone is in fp16: it reads exact inputs rounded, and rounds what it makes."""
    floats = float_names(model)
    beside = onnx.ModelProto()
    beside.CopyFrom(model)
    rounded: set[str] = set()
    exact, drifted, names = [], [], []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{node.name}_alone"
        for i, name in enumerate(node.input):
            if name in floats:
                copy.input[i] = f"{name}_round"
                if name not in rounded:
                    rounded.add(name)
                    beside.graph.node.extend(round_trip(name, f"{name}_round"))
        for i, name in enumerate(node.output):
            if name:
                copy.output[i] = f"{name}_alone"
        beside.graph.node.append(copy)
        output = node.output[0]
        beside.graph.node.extend(round_trip(f"{output}_alone", f"{output}_drifted"))
        exact.append(output)
        drifted.append(f"{output}_drifted")
        names.append(node.name)
    errors = _relative_errors(with_outputs(model, exact), with_outputs(beside, drifted), kinds.values())
    return dict(zip(names, errors, strict=True))


def layer_drift(reference: onnx.ModelProto, other: onnx.ModelProto, values: Values) -> list[LayerDrift]:
    """The drift of every layer (product, normalisation, softmax) of which both graphs have the result."""
    made = {name for node in other.graph.node for name in node.output}
    layers = [node for node in reference.graph.node if node.op_type in LAYERS and node.output[0] in made]
    names = [node.output[0] for node in layers]
    errors = _relative_errors(with_outputs(reference, names), with_outputs(other, names), [values])
    return [LayerDrift(n.name, n.op_type, e) for n, e in zip(layers, errors, strict=True)]


def _at_once(model: onnx.ModelProto) -> int:
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    return max(1, min(AT_ONCE, int(AT_ONCE * LARGE / max(size, 1))))


def _peaks(model: onnx.ModelProto, sets: Iterable[Values]) -> dict[str, float]:
    """The largest magnitude of each float tensor: inputs, constants, and what nodes make of the windows.

    An id is no magnitude: a large vocabulary says nothing about the embedding's numbers.
    """
    peaks = {
        name: float(np.abs(numpy_helper.to_array(tensor)).max(initial=0))
        for name, tensor in constants(model).items()
        if tensor.data_type == TensorProto.FLOAT
    }
    names, floats = float_tensors(model), float_names(model)
    session = open_session(with_outputs(model, names))
    for values in sets:
        for feed in batches(values, _at_once(model)):
            made = dict(zip(names, session.run(None, feed), strict=True))
            seen = {name: array for name, array in {**feed, **made}.items() if name in floats}
            for name, array in seen.items():
                # A NaN is kept: nothing that makes one is fit.
                peaks[name] = float(np.maximum(peaks.get(name, 0.0), np.abs(array).max(initial=0)))
    return peaks


def _least_constant(model: onnx.ModelProto, node: onnx.NodeProto) -> float:
    """The magnitude of the node's scalar constant, where it has one that is not zero: a floor, an epsilon."""
    held = constants(model)
    scalars = [numpy_helper.to_array(held[name]) for name in node.input if name in held and not held[name].dims]
    return min((abs(float(s)) for s in scalars if s.dtype == np.float32 and s), default=1.0)


def _relative_errors(reference: onnx.ModelProto, other: onnx.ModelProto, sets: Collection[Values]) -> list[float]:
    """For each output |b - a| / |a| over all windows of a set; the largest of the sets'."""
    if not reference.graph.output:
        return []
    first, second = open_session(reference), open_session(other)
    worst = np.zeros(len(reference.graph.output))
    for values in sets:
        off, size = np.zeros(len(worst)), np.zeros(len(worst))
        for feed in batches(values, _at_once(reference)):
            for i, (a, b) in enumerate(zip(first.run(None, feed), second.run(None, feed), strict=True)):
                with np.errstate(all="ignore"):
                    off[i] += np.square(b.astype(np.float64) - a).sum()
                    size[i] += np.square(a.astype(np.float64)).sum()
        with np.errstate(all="ignore"):
            error = np.where(off == 0, 0.0, np.sqrt(off / size))
        worst = np.maximum(worst, np.where(np.isnan(error), np.inf, error))
    return [float(e) for e in worst]
