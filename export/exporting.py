"""A trained model becomes a bundle: one graph per pattern, shared weights, and the proof that they are equal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec
import onnx

from rep_edge.calibration.adversarial import adversarial_windows
from rep_edge.calibration.weights import SharedWeights
from rep_edge.errors import InputError
from rep_edge.export.dependence import check_dependence
from rep_edge.export.folding import fold
from rep_edge.export.health import health_records
from rep_edge.export.onnx import to_onnx, trimmed
from rep_edge.export.parity import check_parity
from rep_edge.export.specialise import PatternGraph, specialise
from rep_edge.files import new_folder, require_new, write_file
from rep_edge.model import RepModel
from rep_edge.provenance import git_revision, package_versions
from rep_edge.runtime.bundle import MANIFEST, record_of
from rep_edge.runtime.manifest import (
    SCHEMA_VERSION,
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
    unfolded = to_onnx(graph)
    del graph  # A copy of the model's weights, which folding need not have beside its own.
    model = fold(unfolded)
    check_dependence(model, name)
    return model


def write_graphs(graphs: Iterable[tuple[str, onnx.ModelProto]], folder: Path) -> None:
    """graphs/<name>.fp32.onnx for every graph and the weights file they share, into a folder of one's own.

    One graph at a time is in memory with its weights. Raises InputError where the disk is full.
    """
    path = folder / WEIGHTS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            weights = SharedWeights(stream, path.name)
            for name, model in graphs:
                weights.absorb(model)
                write_file(folder / graph_path(name), model.SerializeToString())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error


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

    def graphs() -> Iterator[tuple[str, onnx.ModelProto]]:
        for name, pattern in patterns.items():
            tell(f"{name}: tracing and folding")
            graph = optimised_graph(specialise(model, pattern), name)
            tell(f"{name}: {len(graph.graph.node)} nodes, all of them depend on a live modality")
            yield name, graph

    kinds = {"real": source.windows, **adversarial_windows(spec, model.config.seed)}
    with new_folder(out) as folder:
        write_graphs(graphs(), folder)
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
            GraphRecord(pattern=name, precision=PRECISION, file=record_of(folder, graph_path(name)), parity=record)
            for name, record in parity.items()
        ),
        weights={PRECISION: record_of(folder, WEIGHTS)},
        temperatures=dict.fromkeys(parity, 1.0),
        provenance=Provenance(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            versions=package_versions(
                "torch",
                "timm",
                "open-clip-torch",
                "transformers",
                "onnx",
                "onnxscript",
                "onnxslim",
                "onnxruntime",
                "numpy",
            ),
            dataset=source.dataset,
            memory=model.config.adapter.memory if model.stage == "adapted" else "backbone",
            seed=model.config.seed,
            git_revision=git_revision() or "",
        ),
        health={} if source.training is None else health_records(model.spec, source.training),
        task=model.config.task,
        trimmed=trimmed(model),
        tokenizers={name: record_of(folder, tokenizer_path(name)) for name in model.tokenizers},
    )
