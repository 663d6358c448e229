"""Graphs on the TensorRT provider of onnxruntime-gpu, what TensorRT has no layer for on its CUDA provider."""

from __future__ import annotations

from rep_edge.runtime.backends.driver import require_driver
from rep_edge.runtime.backends.onnxruntime_cuda import OPTIONS as CUDA_OPTIONS
from rep_edge.runtime.backends.onnxruntime_cuda import PROVIDER as CUDA_PROVIDER
from rep_edge.runtime.backends.onnxruntime_cuda import find_gpu_build
from rep_edge.runtime.backends.sessions import OnnxRuntimeRunner, installed, open_session, session_options
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.engines.cache import cache_folder, open_cache
from rep_edge.runtime.engines.origin import graph_hash

PROVIDER = "TensorrtExecutionProvider"


class OnnxRuntimeTensorRTBackend:
    """Sessions on the first GPU; the first start builds an engine for each graph and keeps it in the engine cache.

    Raises MissingExtraError without onnxruntime, InputError without driver or provider.
    """

    name = "onnxruntime-tensorrt"
    device = "CUDA device 0"

    def __init__(self, threads: int = 1) -> None:
        require_driver(self.name)
        self._runtime = find_gpu_build(self.name, PROVIDER)
        self._threads = threads

    def open(self, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        options = session_options(self._runtime, self._threads)
        graph = bundle.graph_file(pattern, precision)
        providers = [(PROVIDER, self._engine_options(bundle, pattern, precision)), (CUDA_PROVIDER, CUDA_OPTIONS)]
        return open_session(self._runtime, graph, options, PROVIDER, providers)

    def _engine_options(self, bundle: Bundle, pattern: str, precision: str) -> dict[str, str]:
        # The provider finds its own engines by the graph's structure: other weights or another version need a folder of
        # their own.
        versions = installed("onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13")
        folder = (
            cache_folder() / self.name / "-".join((graph_hash(bundle, pattern, precision)[:32], *versions.values()))
        )
        open_cache(cache_folder())
        open_cache(folder)
        return {
            "device_id": "0",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
            # The types are those of the graph; TensorRT 10 has to be told beforehand which ones it may use.
            "trt_fp16_enable": str(int(precision == "fp16")),
            "trt_int8_enable": str(int(precision == "int8")),
        }
