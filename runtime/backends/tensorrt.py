"""Engines on TensorRT 10, TensorRT 11 or TensorRT for RTX, without ONNX Runtime in between."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rep_edge.runtime.backends.driver import require_driver
from rep_edge.runtime.backends.tensorrt_runner import TensorRTRunner
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.engines.cache import cache_folder
from rep_edge.runtime.engines.gpu import find_gpu
from rep_edge.runtime.engines.library import find_tensorrt
from rep_edge.runtime.engines.lookup import find_engine


class TensorRTBackend:
    """Engines on the first GPU, as `rep-edge compile` built them. cache: their folder, None for the usual one.

    Raises InputError without driver or GPU, MissingExtraError without the library.
    """

    def __init__(self, name: str, cache: Path | None = None) -> None:
        require_driver(name)
        self.name = name
        self._library, self._gpu = find_tensorrt(name), find_gpu()
        self._cache = cache_folder() if cache is None else cache
        self.device = self._gpu.name

    def open(self, bundle: Bundle, pattern: str, precision: str) -> TensorRTRunner:
        """Raises EngineMissing where none was built that fits, InputError where it cannot be opened."""
        plan = find_engine(bundle, pattern, precision, self._library, self._gpu, self._cache)
        spec = bundle.manifest.spec
        names = spec.parse_pattern(pattern)
        live = [m for m in spec.modalities if m.name in names]
        # A plan's bytes name its graph, its library and its target; the file itself says which GPU and driver it fits.
        kernels = self._cache / f"{hashlib.sha256(plan).hexdigest()[:32]}.kernels"
        name = f"{pattern} in {precision} on {self._gpu.name} ({self._gpu.compute_capability})"
        return TensorRTRunner(self._library, plan, live, name, kernels)
