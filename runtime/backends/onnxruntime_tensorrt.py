"""Graphs on the TensorRT provider of onnxruntime-gpu, what TensorRT has no layer for on its CUDA provider."""

from __future__ import annotations

from rep_edge.runtime.backends.gpu_sessions import CUDA, CUDA_OPTIONS, GpuSessions
from rep_edge.runtime.backends.sessions import Provider, installed
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.engines.cache import open_folder
from rep_edge.runtime.engines.origin import graph_hash


class OnnxRuntimeTensorRTBackend(GpuSessions):
    """Sessions whose first start builds an engine for each graph and keeps it in the engine cache."""

    name = "onnxruntime-tensorrt"
    provider = "TensorrtExecutionProvider"

    def _providers(self, bundle: Bundle, pattern: str, precision: str) -> list[Provider]:
        return [(self.provider, self._engine_options(bundle, pattern, precision)), (CUDA, CUDA_OPTIONS)]

    def _engine_options(self, bundle: Bundle, pattern: str, precision: str) -> dict[str, str]:
        # The provider finds its own engines by the graph's structure: other weights or another version need a folder of
        # their own.
        versions = installed("onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13")
        origin = graph_hash(bundle, pattern, precision)[:32]
        folder = open_folder(self.name, "-".join((origin, *versions.values())))
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
