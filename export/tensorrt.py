"""Engines built ahead of time, for GPUs that need not be here; they travel in the bundle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from rep_edge.runtime.amendment import amend, free_path
from rep_edge.runtime.bundle import Bundle, file_record
from rep_edge.runtime.engines.build import BatchRange, build_engine
from rep_edge.runtime.engines.library import TensorRT
from rep_edge.runtime.engines.listening import Tell
from rep_edge.runtime.engines.room import require_room
from rep_edge.runtime.engines.targets import require_target, require_version_compatible
from rep_edge.runtime.manifest import EngineRecord, GraphRecord


class Order(NamedTuple):
    """What to build. targets: "sm89", "sm80+"; version_compatible: later versions of the library shall run it too."""

    targets: tuple[str, ...]
    precisions: tuple[str, ...]
    batch: BatchRange
    version_compatible: bool = False


def compile_for(bundle: Bundle, library: TensorRT, order: Order, logs: Path, tell: Tell) -> Bundle:
    """Build an engine of every graph of these precisions for every target, and put them into the bundle.

    They replace engines of the same pattern, precision, target and backend. logs: folder for what the library says.
    Raises InputError where a target is unknown, where there is no room, or where a build fails; the bundle is then as
    it was.
    """
    for target in order.targets:
        require_target(library, target)
    if order.version_compatible:
        require_version_compatible(library)
    graphs = [graph for graph in bundle.manifest.graphs if graph.precision in order.precisions]
    count = len({graph.pattern for graph in graphs}) * len(order.targets)
    require_room(bundle, order.precisions, bundle.path, engines=count, held=count)
    known = {engine.file for engine in bundle.manifest.engines}
    files, built = {}, []
    for target in order.targets:
        for graph in graphs:
            plan = _build(bundle, library, graph, target, order, logs, tell)
            record = _record(bundle, library, graph, target, order, plan)
            built.append(record)
            if record.file not in known:
                files[record.file.path] = plan
                files[_note(record)] = msgspec.json.format(msgspec.json.encode(record), indent=2)
    kept = tuple(old for old in bundle.manifest.engines if _place(old) not in set(map(_place, built)))
    amended = amend(bundle, files, msgspec.structs.replace(bundle.manifest, engines=(*kept, *built)))
    _remove_notes(bundle, amended)
    return amended


def require_precisions(bundle: Bundle, wanted: Sequence[str]) -> tuple[str, ...]:
    """The precisions asked for, all of the bundle's where none are. Raises InputError for one that it lacks."""
    for precision in wanted:
        bundle.require_precision(precision)
    return tuple(dict.fromkeys(wanted)) or bundle.manifest.graph_precisions


def _build(
    bundle: Bundle, library: TensorRT, graph: GraphRecord, target: str, order: Order, logs: Path, tell: Tell
) -> bytes:
    name, began = f"{graph.pattern} in {graph.precision} for {target}", time.monotonic()
    log = logs / f"{bundle.path.resolve().name}.{graph.pattern}.{graph.precision}.{target}.{library.backend}.log"
    tell(f"{name}: building with {library.backend} {library.version}, log {log}")
    file = bundle.graph_file(graph.pattern, graph.precision)
    windows = {m.name: m.shape for m in bundle.manifest.modalities}
    compatible = order.version_compatible
    plan = build_engine(library, file, order.batch, target, log, tell, windows=windows, version_compatible=compatible)
    tell(f"{name}: {len(plan) / 1e6:.1f} MB in {time.monotonic() - began:.1f} s")
    return plan


def _record(
    bundle: Bundle, library: TensorRT, graph: GraphRecord, target: str, order: Order, plan: bytes
) -> EngineRecord:
    version = library.version + "+" * order.version_compatible
    path = f"engines/{graph.pattern}.{graph.precision}.{target}.{library.backend}{version}.engine"
    return EngineRecord(
        pattern=graph.pattern,
        precision=graph.precision,
        file=file_record(free_path(bundle, path, plan), plan),
        graph_sha256=graph.file.sha256,
        backend=library.backend,
        backend_version=version,
        compute_capability=target,
        batch=order.batch,
    )


def _place(record: EngineRecord) -> tuple[str, str, str, str]:
    """What a bundle has one engine of."""
    return record.pattern, record.precision, record.compute_capability, record.backend


def _note(record: EngineRecord) -> str:
    """The record beside the plan, for people and for who copies single files; nothing reads it, the manifest rules."""
    return record.file.path.removesuffix(".engine") + ".json"


def _remove_notes(before: Bundle, after: Bundle) -> None:
    for note in set(map(_note, before.manifest.engines)) - set(map(_note, after.manifest.engines)):
        (after.path / note).unlink(missing_ok=True)
