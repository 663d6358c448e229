"""Graphs on NVIDIA's plugin provider for TensorRT for RTX, which stands beside a plain ONNX Runtime."""

from __future__ import annotations

from typing import Any

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.backends.driver import require_driver
from rep_edge.runtime.backends.sessions import (
    OnnxRuntimeRunner,
    find_onnxruntime,
    first_line,
    installed,
    open_session,
    session_options,
)
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.engines.cache import open_folder
from rep_edge.runtime.engines.origin import graph_hash

PLUGINS = (
    "onnxruntime-ep-nv-tensorrt-rtx",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13",
    "onnxruntime-ep-nv-tensorrt-rtx-cu12",
)
"""The package and the two that hold its libraries."""


class OnnxRuntimeRtxBackend:
    """Sessions on the first GPU that the plugin knows.

    Raises MissingExtraError without onnxruntime or the plugin; InputError without driver or GPU, with an ONNX Runtime
    that knows no plugins, and beside onnxruntime-gpu, with which the plugin does not go together.
    """

    name = "onnxruntime-rtx"
    device = "NVIDIA GPU"

    def __init__(self, threads: int = 1) -> None:
        require_driver(self.name)
        refuse_plugin_beside_gpu_build()
        self._runtime, self._threads = find_onnxruntime("rtx"), threads
        self._provider, self._device = _register(self._runtime, self.name)

    def open(self, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        options = session_options(self._runtime, self._threads)
        kernels = open_folder(self.name, graph_hash(bundle, pattern, precision)[:32])
        options.add_provider_for_devices([self._device], {"nv_runtime_cache_path": str(kernels)})
        return open_session(self._runtime, bundle.graph_file(pattern, precision), options, self._provider, None)


def refuse_plugin_beside_gpu_build() -> None:
    """Raises InputError where the plugin and onnxruntime-gpu are both installed."""
    plugin, build = installed(*PLUGINS), installed("onnxruntime-gpu")
    if plugin and build:
        name, version = next(iter(plugin.items()))
        raise InputError(
            f"{name} {version} stands beside onnxruntime-gpu {build['onnxruntime-gpu']} and needs a plain onnxruntime; "
            f"run  pip uninstall onnxruntime-gpu {' '.join(plugin)}  and install the one you want again"
        )


def _register(runtime: Any, backend: str) -> tuple[str, Any]:
    """The plugin's provider and its first device; a process registers it once."""
    try:
        import onnxruntime_ep_nv_tensorrt_rtx as plugin
    except ImportError as error:
        raise MissingExtraError("rtx", "onnxruntime-ep-nv-tensorrt-rtx") from error
    if not hasattr(runtime, "register_execution_provider_library"):
        raise InputError(f"{backend}: onnxruntime {runtime.__version__} knows no plugins; update it to 1.24 or later")
    provider = plugin.get_ep_name()
    devices = _devices(runtime, provider)
    if not devices:
        try:
            runtime.register_execution_provider_library(provider, plugin.get_library_path())
        except Exception as error:  # The package's errors share no base class.
            raise InputError(f"{backend}: {_plain(error)}") from error
        devices = _devices(runtime, provider)
    if not devices:
        raise InputError(f"{backend}: the plugin knows no GPU here; it needs an RTX GPU (sm86, sm89 or sm120 on)")
    return provider, devices[0]


def _devices(runtime: Any, provider: str) -> list[Any]:
    return [device for device in runtime.get_ep_devices() if device.ep_name == provider]


def _plain(error: Exception) -> str:
    """What went wrong when the plugin was loaded, and what to do."""
    text = first_line(error)
    _, found, reason = text.partition("with error: ")
    if "libcuda.so" in text:
        return f"the NVIDIA driver is missing ({reason or text}); install it"
    return f"the plugin cannot be loaded ({reason if found else text}); install it again"
