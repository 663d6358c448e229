"""Small real bundles for tests: linear graphs of known answers, all patterns, one shared weights file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rep_edge.calibration.weights import share_weights
from rep_edge.runtime.manifest import SCHEMA_VERSION, FileRecord, GraphRecord, Manifest, ParityRecord, Provenance
from rep_edge.signals import Stream, WindowSpec

LABELS = ("quiet", "car", "truck")
ACOUSTIC = Stream(name="acoustic", rate_hz=800, samples=800, unit="full scale")
SEISMIC = Stream(name="seismic", rate_hz=100, samples=100, unit="counts")
MAGNETIC = Stream(name="magnetic", rate_hz=50, samples=50, channels=3, unit="T")
PAIR = WindowSpec(modalities=(ACOUSTIC, SEISMIC), hop_s=0.5)
TRIPLE = WindowSpec(modalities=(ACOUSTIC, SEISMIC, MAGNETIC), hop_s=0.5)
WEIGHTS = "graphs/weights.fp32.bin"

Windows = dict[str, NDArray[np.float32]]


def weight(modality: Stream) -> NDArray[np.float32]:
    """The matrix of a modality, [channels * samples, classes]."""
    rng = np.random.default_rng(len(modality.name))
    size = modality.channels * modality.samples
    return (rng.standard_normal((size, len(LABELS))) / np.sqrt(size)).astype(np.float32)


def expected_logits(windows: Mapping[str, NDArray[np.float32]], spec: WindowSpec = PAIR) -> NDArray[np.float32]:
    """What the graph of these live windows answers, [classes]."""
    return np.sum([windows[name].reshape(-1) @ weight(spec[name]) for name in windows], axis=0, dtype=np.float32)


def random_windows(spec: WindowSpec = PAIR, seed: int = 0) -> Windows:
    """One window of noise for each modality."""
    rng = np.random.default_rng(seed)
    return {m.name: rng.standard_normal(m.shape).astype(np.float32) for m in spec.modalities}


def make_bundle(
    path: Path, spec: WindowSpec = PAIR, temperatures: Mapping[str, float] | None = None, labels: int = len(LABELS)
) -> Path:
    """Write a bundle to `path`; labels: how many of the classes its manifest names."""
    names = [spec.pattern_name(pattern) for pattern in spec.patterns()]
    graphs = {name: _graph([spec[part] for part in name.split("+")]) for name in names}
    (path / "graphs").mkdir(parents=True)
    (path / WEIGHTS).write_bytes(share_weights(list(graphs.values()), Path(WEIGHTS).name))
    for name, graph in graphs.items():
        (path / _file(name)).write_bytes(graph.SerializeToString())
    parity = ParityRecord(windows=1, max_abs_error=1e-7, by_kind={"real": 1e-7}, tolerance=1e-4)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        modalities=spec.modalities,
        hop_s=spec.hop_s,
        labels=LABELS[:labels],
        graphs=tuple(
            GraphRecord(pattern=name, precision="fp32", file=record(path, _file(name)), parity=parity) for name in names
        ),
        weights={"fp32": record(path, WEIGHTS)},
        temperatures=dict(temperatures or dict.fromkeys(names, 1.0)),
        provenance=Provenance(created="2026-01-01T00:00:00+00:00", versions={}, dataset="toy", memory="none", seed=0),
    )
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return path


def record(path: Path, name: str) -> FileRecord:
    """The manifest's entry of a file as it lies in the bundle."""
    content = (path / name).read_bytes()
    return FileRecord(path=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _file(pattern: str) -> str:
    return f"graphs/{pattern}.fp32.onnx"


def _graph(live: list[Stream]) -> onnx.ModelProto:
    """Logits: the sum over live modalities of flattened window times weight."""
    nodes, weights, parts = [], [], []
    for m in live:
        weights.append(numpy_helper.from_array(weight(m), f"{m.name}_weight"))
        nodes.append(helper.make_node("Flatten", [m.name], [f"{m.name}_flat"]))
        nodes.append(helper.make_node("MatMul", [f"{m.name}_flat", f"{m.name}_weight"], [f"{m.name}_part"]))
        parts.append(f"{m.name}_part")
    nodes.append(helper.make_node("Sum", parts, ["logits"]))
    inputs = [helper.make_tensor_value_info(m.name, TensorProto.FLOAT, ["batch", *m.shape]) for m in live]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])
    graph = helper.make_graph(nodes, "toy", inputs, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
