"""Bundles in more than one precision: in structure. The graphs are those of fp32 under another name."""

from __future__ import annotations

from pathlib import Path

import msgspec
from bundles import make_bundle

from rep_edge.runtime.amendment import amend
from rep_edge.runtime.bundle import Bundle, file_record, open_bundle


def make_bundle_in(path: Path, *precisions: str) -> Path:
    """`make_bundle`, with these precisions beside fp32."""
    make_bundle(path)
    for precision in precisions:
        _add(open_bundle(path), precision)
    return path


def _add(bundle: Bundle, precision: str) -> None:
    manifest, files, graphs = bundle.manifest, {}, []
    for graph in manifest.graphs:
        if graph.precision == "fp32":
            content = (bundle.path / graph.file.path).read_bytes()
            path = f"graphs/{graph.pattern}.{precision}.onnx"
            files[path] = content
            graphs.append(msgspec.structs.replace(graph, precision=precision, file=file_record(path, content)))
    weights = f"graphs/weights.{precision}.bin"
    files[weights] = (bundle.path / manifest.weights["fp32"].path).read_bytes() + precision.encode()
    amended = msgspec.structs.replace(
        manifest,
        graphs=(*manifest.graphs, *graphs),
        weights=manifest.weights | {precision: file_record(weights, files[weights])},
    )
    amend(bundle, files, amended)
