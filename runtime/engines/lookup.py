"""The engine for a graph on this GPU: from the cache, else from the bundle, else a sentence that says what to run."""

from __future__ import annotations

from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.engines.cache import CachedEngine, cache_folder, find_entries, load, verified_plan
from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.library import BACKENDS, TensorRT
from rep_edge.runtime.engines.origin import graph_hash
from rep_edge.runtime.engines.targets import fits_gpu, fits_version
from rep_edge.runtime.manifest import EngineRecord


class EngineMissing(InputError):  # noqa: N818
    """No engine fits: what was built, what runs here, and the command that mends it."""


def find_engine(
    bundle: Bundle, pattern: str, precision: str, library: TensorRT, gpu: Gpu, cache: Path | None = None
) -> bytes:
    """The raw plan for a graph, hashed as it was read.

    cache: folder; None for the usual one. Raises EngineMissing where nothing fits, InputError where the bundle has no
    such graph or its engine is not the one that its manifest lists.
    """
    folder = cache_folder() if cache is None else cache
    origin, graph = graph_hash(bundle, pattern, precision), bundle.graph(pattern, precision).file.sha256
    cached = [e for e in find_entries(folder, pattern, precision) if e.record.key.graph_sha256 == origin]
    damage = ""
    for entry in cached:
        if _fits_here(entry.record, library, gpu):
            try:
                return load(entry)
            except InputError as error:
                damage = str(error).partition(";")[0]
    records = [e for e in bundle.manifest.engines if (e.pattern, e.precision) == (pattern, precision)]
    for record in records:
        if record.graph_sha256 == graph and _fits(record, library, gpu):
            return verified_plan(bundle.path / record.file.path, record.file.size, record.file.sha256)
    told = damage or _in_bundle(records, graph, library) or _in_cache([e.record for e in cached], library, gpu)
    here = f"{library.backend} {library.version} on {gpu.name} ({gpu.compute_capability})"
    raise EngineMissing(
        f"{pattern} in {precision}: {told or 'no engine was built'}, and this is {here}; "
        f"run  {compile_command(bundle, library.backend)}"
    )


def compile_command(bundle: Bundle, backend: str) -> str:
    """What to run on this machine for its engines."""
    chosen = "" if backend == next(iter(BACKENDS)) else f" --backend {backend}"
    return f"rep-edge compile {bundle.path}{chosen}"


def _fits_here(record: CachedEngine, library: TensorRT, gpu: Gpu) -> bool:
    key = record.key
    built = (key.backend, key.backend_version, key.gpu, key.compute_capability, record.driver)
    return built == (library.backend, library.version, gpu.name, gpu.compute_capability, gpu.driver)


def _fits(record: EngineRecord, library: TensorRT, gpu: Gpu) -> bool:
    return (
        record.backend == library.backend
        and fits_version(record.backend_version, library.version)
        and fits_gpu(record.compute_capability, gpu.compute_capability)
    )


def _in_bundle(records: list[EngineRecord], graph: str, library: TensorRT) -> str:
    """The bundle's engines that come nearest to what is wanted, in words; "" where it has none."""
    records = [r for r in records if r.backend == library.backend] or records
    current = [r for r in records if r.graph_sha256 == graph]
    if current:
        built = ", ".join(f"{r.backend} {r.backend_version} for {r.compute_capability}" for r in current)
        return f"the bundle has an engine built by {built}"
    return "the bundle has an engine that was built of another graph" if records else ""


def _in_cache(cached: list[CachedEngine], library: TensorRT, gpu: Gpu) -> str:
    """The same for the cache."""
    for record in sorted(cached, key=lambda record: record.key.backend != library.backend):
        key = record.key
        built = f"{key.backend} {key.backend_version} on {key.gpu} ({key.compute_capability})"
        driver = f" with driver {record.driver}, not {gpu.driver}" if record.driver != gpu.driver else ""
        return f"the cache has an engine built by {built}{driver}"
    return ""
