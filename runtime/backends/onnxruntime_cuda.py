"""Graphs on the CUDA provider of onnxruntime-gpu."""

from __future__ import annotations

from rep_edge.runtime.backends.gpu_sessions import CUDA, CUDA_OPTIONS, GpuSessions
from rep_edge.runtime.backends.sessions import Provider
from rep_edge.runtime.bundle import Bundle


class OnnxRuntimeCudaBackend(GpuSessions):
    """Sessions on CUDA alone."""

    name = "onnxruntime-cuda"
    provider = CUDA

    def _providers(self, bundle: Bundle, pattern: str, precision: str) -> list[Provider]:
        return [(CUDA, CUDA_OPTIONS)]
