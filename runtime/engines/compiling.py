"""Engines for the GPU of this machine, into its cache."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.engines.build import BatchRange, build_engine
from rep_edge.runtime.engines.cache import EngineKey, find_entries, load, only_builder, remove_stale, store
from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.library import TensorRT
from rep_edge.runtime.engines.listening import Tell
from rep_edge.runtime.engines.origin import graph_hash
from rep_edge.runtime.engines.room import require_room


def compile_here(
    bundle: Bundle, library: TensorRT, gpu: Gpu, precisions: Sequence[str], batch: BatchRange, cache: Path, tell: Tell
) -> tuple[Path, ...]:
    """Build what the cache lacks for this GPU; the plans of all graphs of these precisions.

    Raises InputError where there is no room, or where a build fails; engines that were built before it stay.
    """
    with only_builder(cache, tell):
        wanted = [_key(bundle, g.pattern, g.precision, library, gpu, batch) for g in bundle.manifest.graphs]
        keys = [key for key in wanted if key.precision in precisions]
        lacking = [key for key in keys if not _is_there(cache, key, gpu)]
        if lacking:
            patterns = len({key.pattern for key in lacking})
            require_room(bundle, sorted({key.precision for key in lacking}), cache, engines=patterns, held=1)
        for key in keys:
            if key in lacking:
                _build(bundle, library, gpu, key, cache, tell)
            else:
                tell(f"{key.pattern} in {key.precision}: is in the cache")
    return tuple(cache / f"{key.name}.engine" for key in keys)


def _key(bundle: Bundle, pattern: str, precision: str, library: TensorRT, gpu: Gpu, batch: BatchRange) -> EngineKey:
    return EngineKey(
        pattern=pattern,
        precision=precision,
        graph_sha256=graph_hash(bundle, pattern, precision),
        backend=library.backend,
        backend_version=library.version,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        batch=batch,
    )


def _is_there(cache: Path, key: EngineKey, gpu: Gpu) -> bool:
    """Whether the cache's engine is sound and was built under this driver."""
    for entry in find_entries(cache, key.pattern, key.precision):
        if entry.record.key == key and entry.record.driver == gpu.driver:
            try:
                load(entry)
            except InputError:
                return False
            return True
    return False


def _build(bundle: Bundle, library: TensorRT, gpu: Gpu, key: EngineKey, cache: Path, tell: Tell) -> None:
    name, began = f"{key.pattern} in {key.precision}", time.monotonic()
    log = cache / "logs" / f"{key.name}.log"
    tell(f"{name}: building for {gpu.name} ({gpu.compute_capability}) with {key.backend} {key.backend_version}")
    tell(f"{name}: log {log}")
    graph = bundle.graph_file(key.pattern, key.precision)
    timings = cache / f"timings.{key.backend}{key.backend_version}.{re.sub(r'[^A-Za-z0-9]+', '-', gpu.name)}.cache"
    windows = {m.name: m.shape for m in bundle.manifest.modalities}
    plan = build_engine(library, graph, BatchRange(*key.batch), None, log, tell, timings, windows=windows)
    store(cache, key, plan, gpu.driver, bundle.path)
    for stale in remove_stale(cache, key, bundle.path):
        tell(f"{name}: removed {stale.name}, which it replaces")
    tell(f"{name}: {len(plan) / 1e6:.1f} MB in {time.monotonic() - began:.1f} s")
