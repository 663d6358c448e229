"""What TensorRT for RTX compiles at run time, kept for the next start; plain TensorRT has nothing of the kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rep_edge.errors import InputError
from rep_edge.files import write_file
from rep_edge.runtime.engines.cache import open_cache


class KernelCache:
    """The file, in the engine cache, that keeps one engine's kernels between processes. file: None to keep nothing.

    problem: why they cannot be kept, in which case every start compiles them; "" where they can.
    """

    def __init__(self, file: Path | None) -> None:
        self.problem = ""
        self._file = file
        self._cache: Any = None
        self._known = b""

    def configure(self, module: Any, engine: Any) -> Any:
        """How TensorRT for RTX is to run an engine: kernels for its shape at once, as one CUDA graph, kernels from the
        file where they still fit. None where there is nothing to configure."""
        if not hasattr(module, "CudaGraphStrategy"):
            return None
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        # In the first run, which nobody waits for, rather than beside the first windows.
        config.dynamic_shapes_kernel_specialization_strategy = module.DynamicShapesKernelSpecializationStrategy.EAGER
        if self._file is not None:
            self._load(self._file, config)
        return config

    def save(self) -> None:
        """Keep what the first run compiled."""
        if self._cache is None or self._file is None:
            return
        content = bytes(memoryview(self._cache.serialize()))
        if content != self._known:
            try:
                write_file(self._file, content)
            except InputError as error:
                self.problem = f"kernels are compiled at every start: {error}"

    def _load(self, file: Path, config: Any) -> None:
        try:
            open_cache(file.parent)  # Kernels are code: nobody else may have put them there.
            self._known = file.read_bytes() if file.exists() else b""
        except (InputError, OSError) as error:
            self.problem = f"kernels are compiled at every start: {error}"
            return
        self._cache = config.create_runtime_cache()
        if self._known:
            # Says False, and takes nothing, where library, driver or GPU are others now.
            self._cache.deserialize(self._known)
        config.set_runtime_cache(self._cache)


def capture_by_itself(module: Any, config: Any) -> bool:
    """Whether the library makes its own CUDA graph; capturing the stream as well would disturb it."""
    return config is not None and config.cuda_graph_strategy == module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
