"""The machine, its packages, its GPU and its engine cache, as they are told in a bug report."""

from __future__ import annotations

import platform

import msgspec

import rep_edge
from rep_edge.errors import InputError
from rep_edge.runtime.backends.driver import missing_driver
from rep_edge.runtime.backends.onnxruntime_rtx import PLUGINS, refuse_plugin_beside_gpu_build
from rep_edge.runtime.backends.sessions import installed, refuse_two_builds
from rep_edge.runtime.engines.cache import cache_folder
from rep_edge.runtime.engines.gpu import find_gpu
from rep_edge.runtime.processor import cores, fast_int8, processor_name

PACKAGES = (
    *("numpy", "msgspec", "onnxruntime", "onnxruntime-gpu", *PLUGINS),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx", "cuda-bindings", "onnx", "torch", "tritonclient"),
)
"""Those whose versions say something about what runs."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """int8: the processor's instructions for int8 products, "" for none. packages: name -> version; clashes: lines.

    gpu: name, compute capability, memory and driver, or why there is none.
    """

    rep_edge: str
    python: str
    system: str
    processor: str
    cores: int
    int8: str
    packages: dict[str, str]
    clashes: tuple[str, ...]
    gpu: str


class CacheState(msgspec.Struct, frozen=True, kw_only=True):
    """The engine cache: its folder, how many engines it holds, and the size of all that is in it, in MB."""

    folder: str
    engines: int
    megabytes: float


def describe_machine() -> Machine:
    """Look at all of it; nothing is started."""
    return Machine(
        rep_edge=rep_edge.__version__,
        python=platform.python_version(),
        system=platform.platform(),
        processor=processor_name(),
        cores=cores(),
        int8=fast_int8() or "",
        packages=installed(*PACKAGES),
        clashes=_clashes(),
        gpu=_gpu(),
    )


def describe_cache() -> CacheState:
    """Also where there is no cache yet."""
    folder = cache_folder()
    files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    size = sum(file.stat().st_size for file in files)
    engines = sum(file.suffix == ".engine" for file in files)
    return CacheState(folder=str(folder), engines=engines, megabytes=round(size / 1e6, 1))


def _clashes() -> tuple[str, ...]:
    """Packages that break each other."""
    found = []
    for refuse in (refuse_two_builds, refuse_plugin_beside_gpu_build):
        try:
            refuse()
        except InputError as error:
            found.append(str(error))
    return tuple(found)


def _gpu() -> str:
    missing = missing_driver()
    if missing is not None:
        return f"none: {missing}"
    try:
        gpu = find_gpu()
    except InputError as error:
        return f"unknown: {error}"
    return f"{gpu.name} ({gpu.compute_capability}), {gpu.memory_bytes / 1e9:.1f} GB, driver {gpu.driver}"
