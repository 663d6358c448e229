"""Stand-ins for the package `tensorrt`, which cannot be installed without its libraries: they note what is asked of
them and build a plan of a few bytes. What they offer is what the versions offer: 10 names the flag of strongly typed
networks, 11 does not."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.library import TensorRT

GPU = Gpu("Orin", "sm87", "540.4.0, CUDA 12.6", 8 << 30)
OTHER_GPU = Gpu("NVIDIA RTX A2000", "sm86", "580.65.06, CUDA 13.0", 6 << 30)


class Severity(Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class FakeLogger:
    """Base of loggers, as the package has it."""

    Severity = Severity


class FakeMonitor:
    """Base of progress monitors."""


class StronglyTyped(IntEnum):
    STRONGLY_TYPED = 1


class Flag(Enum):
    FP16 = "fp16"
    INT8 = "int8"
    TF32 = "tf32"
    VERSION_COMPATIBLE = "version compatible"


class Level(Enum):
    NONE = "none"
    AMPERE_PLUS = "ampere plus"
    SAME_COMPUTE_CAPABILITY = "same"


class FakeTimings:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"measured "


class Asked:
    """What was asked of a fake: network flags, set and cleared builder flags, shapes of the profile and of the
    network's inputs, timings that were given."""

    def __init__(self) -> None:
        self.network_flags: list[int] = []
        self.flags: set[Flag] = {Flag.TF32}
        self.level = Level.NONE
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}
        self.network_shapes: dict[str, tuple[int, ...]] = {}
        self.timings: list[bytes] = []
        self.graphs: list[str] = []


INPUTS = {"acoustic": (1, 800), "seismic": (1, 100)}


def fake_tensorrt(
    version: str,
    plan: bytes | None = b"plan",
    mismatched_timings: bool = False,
    inputs: Mapping[str, tuple[int, ...]] = INPUTS,
) -> tuple[TensorRT, Asked]:
    """The library in a version; plan: what it builds, None for a build that fails; inputs: of a window."""
    asked = Asked()

    class Config:
        progress_monitor: Any = None
        hardware_compatibility_level = Level.NONE
        held: FakeTimings

        def set_flag(self, flag: Flag) -> None:
            asked.flags.add(flag)

        def clear_flag(self, flag: Flag) -> None:
            asked.flags.discard(flag)

        def add_optimization_profile(self, profile: Any) -> int:
            return 0

        def create_timing_cache(self, content: bytes) -> FakeTimings:
            return FakeTimings(content)

        def set_timing_cache(self, timings: FakeTimings, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            if timings.content and mismatched_timings:
                return False
            asked.timings.append(timings.content)
            self.held = timings
            return True

        def get_timing_cache(self) -> FakeTimings:
            return self.held

    class Input:
        def __init__(self, name: str) -> None:
            self.name = name

        @property
        def shape(self) -> tuple[int, ...]:
            return asked.network_shapes.get(self.name, (-1, *inputs[self.name]))

        @shape.setter
        def shape(self, shape: tuple[int, ...]) -> None:
            asked.network_shapes[self.name] = shape

    class Network:
        num_inputs, num_outputs = len(inputs), 1

        def get_input(self, index: int) -> Input:
            return Input(list(inputs)[index])

    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def create_network(self, flags: int) -> Network:
            asked.network_flags.append(flags)
            return Network()

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Any:
            return SimpleNamespace(set_shape=lambda name, *shapes: asked.shapes.update({name: shapes}))

        def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
            asked.level = config.hardware_compatibility_level
            self.logger.log(Severity.VERBOSE, "one of ten thousand")
            self.logger.log(Severity.INFO, "building")
            if plan is None:
                self.logger.log(Severity.ERROR, "out of\n  memory")
            if config.progress_monitor is not None:
                config.progress_monitor.phase_start("Timing tactics", None, 3)
                assert config.progress_monitor.step_complete("Timing tactics", 0)
                config.progress_monitor.phase_finish("Timing tactics")
            return plan

    class Parser:
        num_errors = 0

        def __init__(self, network: Network, logger: Any) -> None:
            pass

        def parse_from_file(self, path: str) -> bool:
            asked.graphs.append(path)
            return True

    offered = {"Builder": Builder, "OnnxParser": Parser, "ILogger": FakeLogger, "IProgressMonitor": FakeMonitor}
    module = SimpleNamespace(__version__=version, BuilderFlag=Flag, HardwareCompatibilityLevel=Level)
    vars(module).update(offered)
    if version.startswith("10."):
        module.NetworkDefinitionCreationFlag = StronglyTyped
    # The listener is kept by module: a namespace cannot be hashed, an object of a plain class can.
    return TensorRT(_Module(vars(module)), "tensorrt", version), asked


class _Module:
    def __init__(self, offered: dict[str, Any]) -> None:
        vars(self).update(offered)
