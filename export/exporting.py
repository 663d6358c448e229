"""A trained model becomes a bundle: one graph per pattern, shared weights, and the proof that they are equal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec
import onnx

from rep_edge.calibration.adversarial import adversarial_windows
from rep_edge.calibration.weights import share_weights
from rep_edge.export.dependence import check_dependence
from rep_edge.export.folding import fold
from rep_edge.export.health import health_records
from rep_edge.export.onnx import to_onnx
from rep_edge.export.parity import check_parity
from rep_edge.export.specialise import PatternGraph, specialise
from rep_edge.files import new_folder, require_new, write_file
from rep_edge.model import RepModel
from rep_edge.provenance import git_revision, package_versions
from rep_edge.runtime.bundle import MANIFEST, file_record
from rep_edge.runtime.manifest import (
    SCHEMA_VERSION,
    FileRecord,
    GraphRecord,
    Manifest,
    ParityRecord,
    Provenance,
)
from rep_edge.signals import Example

PRECISION = "fp32"
WEIGHTS = f"graphs/weights.{PRECISION}.bin"
"""Beside the graphs: ONNX Runtime follows no path that leaves a graph's own folder."""

Tell = Callable[[str], None]


class Source(NamedTuple):
    """What parity is checked on, where the model came from, and what its sensors are like.

    windows: modality -> [n, *shape], real ones; dataset: the data's name; training: windows of the
    same form that the model was trained on, None where they cannot be had.
    """

    windows: dict[str, Example]
    dataset: str
    training: dict[str, Example] | None = None


def optimised_graph(graph: PatternGraph, name: str) -> onnx.ModelProto:
    """The ONNX graph of a specialised module, folded and checked, as bundles and benchmarks have it."""
    model = fold(to_onnx(graph))
    check_dependence(model, name)
    return model


def write_graphs(graphs: dict[str, onnx.ModelProto], folder: Path) -> None:
    """graphs/<name>.fp32.onnx for every graph and the weights file they share, into a folder of one's own."""
    blob = share_weights(list(graphs.values()), Path(WEIGHTS).name)
    write_file(folder / WEIGHTS, blob)
    for name, model in graphs.items():
        write_file(folder / graph_path(name), model.SerializeToString())


def graph_path(pattern: str) -> str:
    """Where the graph of a pattern lies in a bundle."""
    return f"graphs/{pattern}.{PRECISION}.onnx"


def tokenizer_path(name: str) -> str:
    """Where the tokenizer of a text modality lies in a bundle."""
    return f"tokenizers/{name}.json"


def export_bundle(model: RepModel, out: Path, source: Source, tell: Tell) -> Manifest:
    """Write the bundle of `model` to the new folder `out`; it appears whole or not at all.

    tell: is given one line about each graph. Raises InputError where `out` is there already, where a graph computes
    what does not depend on its inputs, and where it differs from the model.
    """
    require_new(out)
    spec = model.spec
    patterns = {spec.pattern_name(pattern): pattern for pattern in spec.patterns()}
    graphs = {}
    for name, pattern in patterns.items():
        tell(f"{name}: tracing and folding")
        graphs[name] = optimised_graph(specialise(model, pattern), name)
        tell(f"{name}: {len(graphs[name].graph.node)} nodes, all of them depend on a live sensor")
    kinds = {"real": source.windows, **adversarial_windows(spec, model.config.seed)}
    with new_folder(out) as folder:
        write_graphs(graphs, folder)
        for name, definition in model.tokenizers.items():
            write_file(folder / tokenizer_path(name), definition.encode())
        parity = {}
        for name, pattern in patterns.items():
            parity[name] = check_parity(model, pattern, folder / graph_path(name), kinds)
            worst = parity[name].max_abs_error
            tell(f"{name}: equals the trained model within {worst:.1e} on {parity[name].windows} windows")
        manifest = _manifest(model, folder, parity, source)
        write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    return manifest


def _manifest(model: RepModel, folder: Path, parity: dict[str, ParityRecord], source: Source) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        modalities=model.spec.modalities,
        hop_s=model.spec.hop_s,
        labels=model.labels,
        graphs=tuple(
            GraphRecord(pattern=name, precision=PRECISION, file=_record(folder, graph_path(name)), parity=record)
            for name, record in parity.items()
        ),
        weights={PRECISION: _record(folder, WEIGHTS)},
        temperatures=dict.fromkeys(parity, 1.0),
        provenance=Provenance(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            versions=package_versions("torch", "timm", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy"),
            dataset=source.dataset,
            memory=model.config.adapter.memory if model.stage == "adapted" else "backbone",
            seed=model.config.seed,
            git_revision=git_revision() or "",
        ),
        health={} if source.training is None else health_records(model.spec, source.training),
        task=model.config.task,
        tokenizers={name: _record(folder, tokenizer_path(name)) for name in model.tokenizers},
    )


def _record(folder: Path, path: str) -> FileRecord:
    return file_record(path, (folder / path).read_bytes())
