"""fp32 graphs as fp16 graphs: inputs and outputs stay float32, and so do the nodes that are to be kept.

ONNX Runtime's own converter hands every value between two kept nodes through fp16, where the spectrum's powers
overflow; here a tensor has the type of the node that makes it, and is cast once where the other type is read.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rep_edge.calibration.graphs import constants, float_names, float_tensors, without_nodes

FP16_MAX = 65504.0
"""Largest fp16 number."""
FP16_LEAST = 2.0**-14
"""Smallest fp16 number of full precision."""
FIXED_OPERATORS = frozenset({"Cast", "CastLike", "ConstantOfShape", "Range", "Resize"})
"""Operators whose types do not follow their inputs'."""


def to_fp16(model: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    """The graph with every float node in fp16 but those named in `kept`."""
    conversion = _Conversion(model, kept)
    nodes = [part for node in model.graph.node for part in conversion.convert(node)]
    nodes += [conversion.to_float32(value.name) for value in model.graph.output if value.name in conversion.half]
    made = without_nodes(model)
    for field in (made.graph.initializer, made.graph.value_info):
        del field[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(conversion.used_constants())
    return made


def rounded_to_fp16(model: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    """The fp32 graph with what the nodes in fp16 read as constants and make rounded to fp16, under the same names.

    ONNX Runtime on a CPU computes most fp16 nodes in fp32 and drops the casts between them, so that nothing overflows
    there that would on a GPU. This graph is what fp16 is judged on.
    """
    chosen = {node.name for node in convertible(model)} - set(kept)
    floats = set(float_tensors(model))
    held = constants(model)
    made = without_nodes(model)
    rounded: dict[str, TensorProto] = {}
    for node in model.graph.node:
        part = made.graph.node.add()
        part.CopyFrom(node)
        if node.name not in chosen:
            continue
        for i, name in enumerate(node.input):
            if name in held and held[name].data_type == TensorProto.FLOAT:
                part.input[i] = f"{name}_rounded"
                if part.input[i] not in rounded:
                    values = numpy_helper.to_array(held[name]).astype(np.float16).astype(np.float32)
                    rounded[part.input[i]] = numpy_helper.from_array(values, part.input[i])
        for i, name in enumerate(node.output):
            if name in floats:
                part.output[i] = f"{name}_exact"
                made.graph.node.extend(round_trip(f"{name}_exact", name))
    made.graph.initializer.extend(rounded.values())
    return made


def round_trip(source: str, target: str) -> list[onnx.NodeProto]:
    """`source` to fp16 and back, as `target`."""
    half = f"{target}_half"
    there = helper.make_node("Cast", [source], [half], name=half, to=TensorProto.FLOAT16)
    return [there, helper.make_node("Cast", [half], [target], name=f"{target}_back", to=TensorProto.FLOAT)]


def convertible(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that compute with floats and may do so in fp16, in graph order."""
    floats = float_names(model)
    return [
        node
        for node in model.graph.node
        if node.op_type not in FIXED_OPERATORS and floats.intersection(node.input) and floats.intersection(node.output)
    ]


class _Conversion:
    """half: tensors that fp16 nodes make. Casts and fp16 copies of constants are made when first asked for."""

    def __init__(self, model: onnx.ModelProto, kept: Collection[str]) -> None:
        self.constants = constants(model)
        self.chosen = {node.name for node in convertible(model)} - set(kept)
        self.outputs = {value.name for value in model.graph.output}
        self.floats = float_names(model)
        self.half: set[str] = set()
        self.cast: set[str] = set()
        self.read: dict[str, TensorProto] = {}

    def convert(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The node in its type, with the casts of its inputs before it."""
        made = onnx.NodeProto()
        made.CopyFrom(node)
        half = node.name in self.chosen
        casts = []
        for i, name in enumerate(node.input):
            found, cast = self._in_type(name, half)
            made.input[i] = found
            casts += cast
        if half:
            for i, name in enumerate(node.output):
                if name in self.floats:
                    self.half.add(name)
                    made.output[i] = self._half_name(name)
        return [*casts, made]

    def to_float32(self, output: str) -> onnx.NodeProto:
        """The cast that gives an output of the graph its own type and name back."""
        return helper.make_node("Cast", [self._half_name(output)], [output], name=f"{output}_out", to=TensorProto.FLOAT)

    def used_constants(self) -> list[TensorProto]:
        """Those that some node reads, each in the types in which it is read."""
        return list(self.read.values())

    def _half_name(self, name: str) -> str:
        return f"{name}_fp16" if name in self.outputs else name

    def _in_type(self, name: str, half: bool) -> tuple[str, list[onnx.NodeProto]]:
        """The name under which a tensor is read in a type, and the cast that makes it where none did before."""
        if name in self.constants:
            return self._constant(name, half), []
        if name not in self.floats or (name in self.half) == half:
            return self._half_name(name) if name in self.half else name, []
        wanted = f"{name}_as_{'fp16' if half else 'fp32'}"
        if wanted in self.cast:
            return wanted, []
        self.cast.add(wanted)
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        source = self._half_name(name) if name in self.half else name
        return wanted, [helper.make_node("Cast", [source], [wanted], name=wanted, to=kind)]

    def _constant(self, name: str, half: bool) -> str:
        tensor = self.constants[name]
        if not half or name not in self.floats:
            self.read[name] = tensor
            return name
        wanted = f"{name}_fp16"
        if wanted not in self.read:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            self.read[wanted] = numpy_helper.from_array(values, wanted)
        return wanted
