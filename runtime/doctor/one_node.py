"""The smallest bundle: one graph of one node, made without the package onnx. It shows whether a backend computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rep_edge.files import write_file
from rep_edge.runtime.bundle import Bundle, file_record
from rep_edge.runtime.manifest import SCHEMA_VERSION, GraphRecord, Manifest, ParityRecord, Provenance
from rep_edge.signals import Stream

PATTERN, PRECISION = "probe", "fp32"
WINDOW = np.array([[[-1, 0, 2, 3], [0, -1, 5, 1]]], np.float32)
"""What the graph is fed, [1, 2 channels, 4 samples] ..."""
ANSWER = np.array([[0, 0, 5, 3]], np.float32)
"""... and gives: the larger of the two channels."""


def write_one_node(folder: Path) -> Bundle:
    """Write the bundle's graph, and the weights file that it does not use, into a folder."""
    files = {"graphs/probe.fp32.onnx": one_node_graph(), "graphs/weights.fp32.bin": b""}
    for path, content in files.items():
        write_file(folder / path, content)
    graph, weights = (file_record(path, content) for path, content in files.items())
    parity = ParityRecord(windows=0, max_abs_error=0.0, by_kind={}, tolerance=0.0)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        modalities=(Stream(name=PATTERN, rate_hz=4, samples=4, channels=2),),
        hop_s=1.0,
        labels=("a", "b", "c", "d"),
        graphs=(GraphRecord(pattern=PATTERN, precision=PRECISION, file=graph, parity=parity),),
        weights={PRECISION: weights},
        temperatures={},
        provenance=Provenance(created="", versions={}, dataset="", memory="none", seed=0),
    )
    return Bundle(folder, manifest)


def one_node_graph() -> bytes:
    """ONNX: logits [batch, 4] = ReduceMax(probe [batch, 2, 4], axes=[1], keepdims=0).

    The numbers are those of the fields in onnx.proto; a message is its fields one after the other.
    """
    axes = _field(1, b"axes") + _field(8, 1) + _field(20, 7)
    keepdims = _field(1, b"keepdims") + _field(3, 0) + _field(20, 2)
    node = _field(1, PATTERN.encode()) + _field(2, b"logits") + _field(4, b"ReduceMax")
    node += _field(5, axes) + _field(5, keepdims)
    graph = _field(1, node) + _field(2, b"one node")
    graph += _field(11, _float_tensor(PATTERN.encode(), 2, 4)) + _field(12, _float_tensor(b"logits", 4))
    operators = _field(1, b"") + _field(2, 17)
    return _field(1, 8) + _field(7, graph) + _field(8, operators)


def _float_tensor(name: bytes, *sizes: int) -> bytes:
    """Name and type of float32 [batch, *sizes]."""
    shape = _field(1, _field(2, b"batch")) + b"".join(_field(1, _field(1, size)) for size in sizes)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _field(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message: a number, or bytes after their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more come."""
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])
