"""What the CUDA and the TensorRT provider of onnxruntime-gpu have in common."""

from __future__ import annotations

import contextlib
import io
from abc import ABC, abstractmethod
from typing import Any

from rep_edge.errors import InputError
from rep_edge.runtime.backends.driver import require_driver
from rep_edge.runtime.backends.sessions import (
    OnnxRuntimeRunner,
    Provider,
    find_onnxruntime,
    open_session,
    session_options,
)
from rep_edge.runtime.bundle import Bundle

CUDA = "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "device_id": "0",
    # TF32 would round the inputs of fp32 products to 10 bits; whoever wants that speed takes the fp16 graphs.
    "use_tf32": "0",
    "arena_extend_strategy": "kSameAsRequested",
}


class GpuSessions(ABC):
    """Sessions on the first GPU. name: of the backend; provider: that must run the graphs.

    Raises MissingExtraError without onnxruntime, InputError without driver or provider.
    """

    name: str
    provider: str
    device = "CUDA device 0"

    def __init__(self, threads: int = 1) -> None:
        require_driver(self.name)
        self._runtime = find_gpu_build(self.name, self.provider)
        self._threads = threads

    def open(self, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        """Raises InputError where the graph cannot be opened, or where another provider would run it."""
        options = session_options(self._runtime, self._threads)
        graph = bundle.graph_file(pattern, precision)
        providers = self._providers(bundle, pattern, precision)
        return open_session(self._runtime, graph, options, self.provider, providers)

    @abstractmethod
    def _providers(self, bundle: Bundle, pattern: str, precision: str) -> list[Provider]:
        """The provider with its options, and after it what may help it."""


def find_gpu_build(backend: str, provider: str) -> Any:
    """onnxruntime with the provider that a backend needs, and the CUDA libraries that came as packages loaded.

    Raises MissingExtraError without onnxruntime, InputError where this build of it has no such provider.
    """
    runtime = find_onnxruntime("gpu")
    if provider not in runtime.get_available_providers():
        raise InputError(
            f"{backend}: the onnxruntime that is installed has no {provider}; run  pip uninstall onnxruntime  and then"
            '  pip install "rep-edge[gpu]"'
        )
    if hasattr(runtime, "preload_dlls"):
        # It prints what it did not find as a package, which the system may have.
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.preload_dlls()
    return runtime
