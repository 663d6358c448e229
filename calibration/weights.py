"""One file of weights that all graphs share: each tensor stored once, found by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import onnx
from onnx import TensorProto, numpy_helper

ALIGNMENT = 4096
"""Bytes; a page, so that a runtime can map a tensor instead of copying it."""
SMALLEST = 1024
"""Bytes from which a tensor goes into the file; smaller ones stay in the graph, where constants are looked into."""


def share_weights(models: Sequence[onnx.ModelProto], location: str) -> bytes:
    """Move the large tensors of all models into one blob, which the file `location` beside them will hold."""
    blob = bytearray()
    offsets: dict[str, int] = {}
    for model in models:
        for tensor in model.graph.initializer:
            raw = numpy_helper.to_array(tensor).tobytes()
            if len(raw) < SMALLEST:
                continue
            key = f"{tensor.data_type} {list(tensor.dims)} {hashlib.sha256(raw).hexdigest()}"
            if key not in offsets:
                blob.extend(bytes(-len(blob) % ALIGNMENT))
                offsets[key] = len(blob)
                blob.extend(raw)
            _point(tensor, location, offsets[key], len(raw))
    return bytes(blob)


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Replace the tensor's data by where it lies."""
    name, kind, dims = tensor.name, tensor.data_type, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.data_location = name, kind, TensorProto.EXTERNAL
    tensor.dims.extend(dims)
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
