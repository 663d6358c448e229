"""One file of weights that all graphs share: each tensor stored once, found by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO

import onnx
from onnx import TensorProto, numpy_helper

ALIGNMENT = 4096
"""Bytes; a page, so that a runtime can map a tensor instead of copying it."""
SMALLEST = 1024
"""Bytes from which a tensor goes into the file; smaller ones stay in the graph, where constants are looked into."""


class SharedWeights:
    """The file of weights, written as models come: each of them is small once it has been absorbed.

    stream: where the bytes go; location: name of that file beside the graphs.
    """

    def __init__(self, stream: BinaryIO, location: str) -> None:
        self._stream, self._location = stream, location
        self._size = 0
        self._offsets: dict[str, int] = {}

    def absorb(self, model: onnx.ModelProto) -> None:
        """Move the large tensors of a model into the file, those that it does not hold yet."""
        for tensor in model.graph.initializer:
            raw = numpy_helper.to_array(tensor).tobytes()
            if len(raw) < SMALLEST:
                continue
            key = f"{tensor.data_type} {list(tensor.dims)} {hashlib.sha256(raw).hexdigest()}"
            if key not in self._offsets:
                self._write(bytes(-self._size % ALIGNMENT))
                self._offsets[key] = self._size
                self._write(raw)
            _point(tensor, self._location, self._offsets[key], len(raw))

    def _write(self, content: bytes) -> None:
        self._stream.write(content)
        self._size += len(content)


def share_weights(models: Sequence[onnx.ModelProto], location: str) -> bytes:
    """Move the large tensors of all models into one blob, which the file `location` beside them will hold."""
    blob = BytesIO()
    weights = SharedWeights(blob, location)
    for model in models:
        weights.absorb(model)
    return blob.getvalue()


def _point(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Replace the tensor's data by where it lies."""
    name, kind, dims = tensor.name, tensor.data_type, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.data_location = name, kind, TensorProto.EXTERNAL
    tensor.dims.extend(dims)
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
