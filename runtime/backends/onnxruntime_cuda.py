"""Graphs on the CUDA provider of onnxruntime-gpu."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from rep_edge.errors import InputError
from rep_edge.runtime.backends.driver import require_driver
from rep_edge.runtime.backends.sessions import OnnxRuntimeRunner, find_onnxruntime, open_session, session_options
from rep_edge.runtime.bundle import Bundle

PROVIDER = "CUDAExecutionProvider"
OPTIONS = {
    "device_id": "0",
    # TF32 would round the inputs of fp32 products to 10 bits; whoever wants that speed takes the fp16 graphs.
    "use_tf32": "0",
    "arena_extend_strategy": "kSameAsRequested",
}


class OnnxRuntimeCudaBackend:
    """Sessions on the first GPU.

    Raises MissingExtraError without onnxruntime, InputError without driver or provider.
    """

    name = "onnxruntime-cuda"
    device = "CUDA device 0"

    def __init__(self, threads: int = 1) -> None:
        require_driver(self.name)
        self._runtime = find_gpu_build(self.name, PROVIDER)
        self._threads = threads

    def open(self, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        options = session_options(self._runtime, self._threads)
        graph = bundle.graph_file(pattern, precision)
        return open_session(self._runtime, graph, options, PROVIDER, [(PROVIDER, OPTIONS)])


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
