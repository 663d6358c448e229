"""A stand-in for the half of TensorRT that runs engines, on top of `fake_cuda`.

An engine is that of a graph of `bundles.make_bundle`: its plan names the live modalities, and its answers are
`expected_logits` of what lies in memory. Another `Toy` has other modalities and answers.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable
from enum import Enum
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from bundles import LABELS, PAIR, expected_logits
from fake_cuda import FakeCuda
from numpy.typing import NDArray

from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.library import TensorRT
from rep_edge.signals import Example, WindowSpec

GPU = Gpu("NVIDIA RTX A2000", "sm86", "580.65.06, CUDA 13.0", 6 << 30)


class Severity(Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    VERBOSE = 4


class Logger:
    Severity = Severity


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    INT64 = 8


TYPES = {"float32": DataType.FLOAT, "int64": DataType.INT64}


class Toy(NamedTuple):
    """What engines take, and what they say of one window of each live modality."""

    spec: WindowSpec = PAIR
    answer: Callable[[dict[str, Example]], NDArray[np.float32]] = expected_logits


PAIR_OF_SENSORS = Toy()


class Strategy(Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class Specialization(Enum):
    LAZY = 0
    EAGER = 1


class Seen:
    """What a fake was asked and what of it is alive; the switches of its faults.

    kernels: what the runtime cache was given and holds; alive: engines, contexts and runtimes that are referred to.
    dtypes: of tensors that are not what the modality says.
    """

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.runs = 0
        self.given: list[bytes] = []
        self.kernels = b"kernels"
        self.host_code_allowed = False
        self.strategies: list[tuple[Strategy, Specialization]] = []
        self.capturable = True
        self.runs_fail_after = -1
        self.no_context = False
        self.dtypes: dict[str, DataType] = {}
        self.shape: tuple[int, ...] = (1, len(LABELS))


def plan_of(names: Iterable[str]) -> bytes:
    """The plan of the graph of these live modalities."""
    return b"plan:" + json.dumps(list(names)).encode()


def fake_library(
    cuda: FakeCuda, backend: str = "tensorrt", version: str = "10.9.0.34", toy: Toy = PAIR_OF_SENSORS
) -> tuple[TensorRT, Seen]:
    """TensorRT 10 or 11, or TensorRT for RTX, with what only that one has."""
    seen = Seen()
    rtx = backend == "tensorrt-rtx"

    class Alive:
        def __init__(self) -> None:
            seen.alive.append(type(self).__name__)

        def __del__(self) -> None:
            seen.alive.remove(type(self).__name__)

    class RuntimeCache(Alive):
        def deserialize(self, blob: bytes) -> bool:
            seen.given.append(blob)
            return blob == seen.kernels

        def serialize(self) -> bytes:
            return seen.kernels

    class RuntimeConfig(Alive):
        cuda_graph_strategy = Strategy.DISABLED
        dynamic_shapes_kernel_specialization_strategy = Specialization.LAZY
        cache: Any = None

        def create_runtime_cache(self) -> RuntimeCache:
            return RuntimeCache()

        def set_runtime_cache(self, cache: RuntimeCache) -> bool:
            self.cache = cache
            return True

    class ExecutionContext(Alive):
        def __init__(self, engine: Engine) -> None:
            super().__init__()
            self.engine, self.addresses, self.shapes = engine, dict[str, int](), dict[str, tuple[int, ...]]()

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            fits = name in self.engine.inputs and tuple(shape) == (1, *toy.spec[name].shape)
            self.shapes[name] = shape
            return fits

        def set_tensor_address(self, name: str, address: int) -> bool:
            self.addresses[name] = address
            return cuda.live.get(address) == "cudaMalloc"

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return seen.shape if set(self.shapes) == set(self.engine.inputs) else (-1, -1)

        def execute_async_v3(self, stream: int) -> bool:
            assert cuda.live[stream] == "cudaStreamCreateWithFlags"
            assert set(self.addresses) == {*self.engine.inputs, "logits"}
            cuda.calls.append("execute_async_v3")
            seen.runs_fail_after -= 1
            if seen.runs_fail_after == -1:
                return False
            cuda.work(self._compute)
            return True

        def _compute(self) -> None:
            seen.runs += 1
            windows = {name: self._read(name) for name in self.engine.inputs}
            logits = toy.answer(windows).astype(np.float32)
            ctypes.memmove(self.addresses["logits"], logits.ctypes.data, logits.nbytes)

        def _read(self, name: str) -> Any:
            modality, address = toy.spec[name], self.addresses[name]
            assert address in cuda.memory, "memory was freed under the engine"
            size = int(np.prod(modality.shape)) * np.dtype(modality.dtype).itemsize
            assert len(cuda.memory[address]) == size, "memory is not as large as the input"
            return np.frombuffer(bytes(cuda.memory[address]), modality.dtype).reshape(modality.shape)

    if rtx or not version.startswith("10."):
        ExecutionContext.is_stream_capturable = lambda self, stream: seen.capturable  # type: ignore[attr-defined]

    class Engine(Alive):
        def __init__(self, inputs: list[str]) -> None:
            super().__init__()
            self.inputs = inputs

        @property
        def num_io_tensors(self) -> int:
            return len(self.inputs) + 1

        def get_tensor_name(self, index: int) -> str:
            return [*self.inputs, "logits"][index]

        def get_tensor_dtype(self, name: str) -> DataType:
            usual = DataType.FLOAT if name == "logits" else TYPES[toy.spec[name].dtype]
            return seen.dtypes.get(name, usual)

        def create_runtime_config(self) -> RuntimeConfig:
            return RuntimeConfig()

        def create_execution_context(self, config: RuntimeConfig | None = None) -> ExecutionContext | None:
            if config is not None:
                strategies = config.cuda_graph_strategy, config.dynamic_shapes_kernel_specialization_strategy
                seen.strategies.append(strategies)
            return None if seen.no_context else ExecutionContext(self)

    class Runtime(Alive):
        def __init__(self, logger: Any) -> None:
            super().__init__()
            self.logger, self.engine_host_code_allowed = logger, False

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            assert any(kind == "cudaStreamCreateWithFlags" for kind in cuda.live.values()), "no CUDA context yet"
            seen.host_code_allowed = self.engine_host_code_allowed
            if not plan.startswith(b"plan:"):
                self.logger.log(Severity.VERBOSE, "looking")
                self.logger.log(Severity.ERROR, "the magic tag\n is another one")
                self.logger.log(Severity.ERROR, "and so on")
                return None
            return Engine(json.loads(plan.removeprefix(b"plan:")))

    module = SimpleNamespace(__version__=version, ILogger=Logger, DataType=DataType, Runtime=Runtime)
    if rtx:
        module.CudaGraphStrategy, module.DynamicShapesKernelSpecializationStrategy = Strategy, Specialization
    # `listener` keeps one for each module, and therefore has to tell them apart.
    hashable = type("Module", (), dict(vars(module)))()
    return TensorRT(hashable, backend, version), seen
