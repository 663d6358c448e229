"""A bundle that knows how loud it is: small, so that days of streams pass in an hour, and sure, so that events come."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rep_edge.runtime.manifest import SCHEMA_VERSION, FileRecord, GraphRecord, Manifest, ParityRecord, Provenance
from rep_edge.signals import Stream, WindowSpec

LEVELS = {"background": 1.0, "light": 4.0, "heavy": 16.0}
"""Class -> RMS of its samples."""
SPEC = WindowSpec(
    modalities=(
        Stream(name="acoustic", rate_hz=1000, samples=1000, unit="full scale"),
        Stream(name="seismic", rate_hz=100, samples=100, unit="counts"),
    ),
    hop_s=0.5,
)


def write_bundle(path: Path) -> Path:
    """Write it to `path`, a folder that is not there."""
    (path / "graphs").mkdir(parents=True)
    names = [SPEC.pattern_name(pattern) for pattern in SPEC.patterns()]
    for name in names:
        (path / _file(name)).write_bytes(_graph([SPEC.stream(part) for part in name.split("+")]).SerializeToString())
    weights = "graphs/weights.fp32.bin"
    (path / weights).write_bytes(bytes(4096))
    parity = ParityRecord(windows=1, max_abs_error=1e-7, by_kind={"real": 1e-7}, tolerance=1e-4)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        modalities=SPEC.streams,
        hop_s=SPEC.hop_s,
        labels=tuple(LEVELS),
        graphs=tuple(
            GraphRecord(pattern=name, precision="fp32", file=_record(path, _file(name)), parity=parity)
            for name in names
        ),
        weights={"fp32": _record(path, weights)},
        temperatures=dict.fromkeys(names, 1.0),
        provenance=Provenance(
            created="2026-01-01T00:00:00+00:00", versions={}, dataset="none: loudness", memory="none", seed=0
        ),
    )
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return path


def _graph(live: list[Stream]) -> onnx.ModelProto:
    """The logit of a class falls with the square of how far the mean log power of the live windows is from its own."""
    centres = 2 * np.log(np.array([*LEVELS.values()], np.float32))
    constants: dict[str, np.ndarray] = {
        "axes": np.array([1, 2], np.int64),
        "least": np.array(1e-12, np.float32),
        "slope": (2 * centres[None] / len(live)).astype(np.float32),
        "bias": -(centres**2),
    }
    nodes = []
    for m in live:
        nodes.append(helper.make_node("Mul", [m.name, m.name], [f"{m.name}_square"]))
        nodes.append(helper.make_node("ReduceMean", [f"{m.name}_square", "axes"], [f"{m.name}_mean"], keepdims=0))
        nodes.append(helper.make_node("Add", [f"{m.name}_mean", "least"], [f"{m.name}_power"]))
        nodes.append(helper.make_node("Log", [f"{m.name}_power"], [f"{m.name}_log"]))
    nodes.append(helper.make_node("Sum", [f"{m.name}_log" for m in live], ["loudness"]))
    constants["column"] = np.array([-1, 1], np.int64)
    nodes.append(helper.make_node("Reshape", ["loudness", "column"], ["rows"]))
    nodes.append(helper.make_node("MatMul", ["rows", "slope"], ["product"]))
    nodes.append(helper.make_node("Add", ["product", "bias"], ["logits"]))
    inputs = [helper.make_tensor_value_info(m.name, TensorProto.FLOAT, ["batch", *m.shape]) for m in live]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LEVELS)])
    held = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "loudness", inputs, [output], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _file(pattern: str) -> str:
    return f"graphs/{pattern}.fp32.onnx"


def _record(path: Path, name: str) -> FileRecord:
    content = (path / name).read_bytes()
    return FileRecord(path=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
