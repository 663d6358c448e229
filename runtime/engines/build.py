"""A graph becomes an engine, by TensorRT 10, TensorRT 11 or TensorRT for RTX: the same steps for all three."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from rep_edge.errors import InputError
from rep_edge.files import write_file
from rep_edge.runtime.engines.library import TensorRT
from rep_edge.runtime.engines.listening import Listener, Tell, listener
from rep_edge.runtime.engines.targets import aim, require_target, require_version_compatible

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Input to the shape of one window."""
OWN_SHAPES: Shapes = MappingProxyType({})


class BatchRange(NamedTuple):
    """Batches that an engine takes, and the one that it is tuned for."""

    least: int
    usual: int
    largest: int


def parse_batch(text: str) -> BatchRange:
    """ "1,1,8". Raises InputError where that is not 1 <= least <= usual <= largest."""
    try:
        least, usual, largest = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"batch {text!r}: give least, usual and largest batch, such as 1,1,8") from error
    if not 1 <= least <= usual <= largest:
        raise InputError(f"batch {text!r}: must rise from at least 1, such as 1,1,8")
    return BatchRange(least, usual, largest)


def build_engine(
    library: TensorRT,
    graph: Path,
    batch: BatchRange,
    capability: str | None,
    log: Path | None = None,
    tell: Tell = lambda line: None,
    timing_cache: Path | None = None,
    *,
    windows: Shapes = OWN_SHAPES,
    version_compatible: bool = False,
) -> bytes:
    """The raw plan of a graph, whose external weights lie beside it. Precision is what the graph says, never a flag.

    capability: "sm89", "sm80+" (`targets`), None for the GPU of this machine. log: file for what the library says.
    timing_cache: file that `tensorrt` keeps its measurements in. windows: of inputs that the graph takes shorter too,
    such as texts: an engine takes them whole. Raises InputError: a target that the library does not offer; an operator
    that it does not know, by name; a build that fails, with the library's own reason.
    """
    if capability is not None:
        require_target(library, capability)
    if version_compatible:
        require_version_compatible(library)
    heard = listener(library.module)
    with heard.during(graph.stem, log, tell):
        builder = library.module.Builder(heard.logger)
        network, _parser = _read(library, builder, graph, heard)  # The parser holds the weights until the build ends.
        config = builder.create_builder_config()
        _describe_inputs(builder, config, network, batch, windows)
        aim(library, config, capability)
        _keep_fp32_exact(library.module, config)
        if version_compatible:
            config.set_flag(library.module.BuilderFlag.VERSION_COMPATIBLE)
        if heard.monitor is not None:
            config.progress_monitor = heard.monitor
        # With tensorrt-rtx a timing cache makes the builder look for a GPU; it measures nothing anyway.
        timings = timing_cache if library.backend == "tensorrt" else None
        if timings is not None:
            _load_timings(config, timings)
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = heard.errors[0] if heard.errors else "no reason given"
        raise InputError(
            f"{graph}: {library.backend} {library.version} cannot build an engine of it ({_one_line(reason)}); "
            + (f"its log is {log}" if log is not None else "see its log")
        )
    if timings is not None:
        write_file(timings, bytes(memoryview(config.get_timing_cache().serialize())))
    return bytes(memoryview(plan))


def _read(library: TensorRT, builder: Any, graph: Path, heard: Listener) -> tuple[Any, Any]:
    """The network of a graph and its parser. Raises InputError that names the operator which was refused."""
    network = builder.create_network(_strongly_typed(library.module))
    parser = library.module.OnnxParser(network, heard.logger)
    # From the file: external weights are found beside it.
    if not parser.parse_from_file(str(graph)):
        raise InputError(_refusal(library, graph, parser))
    if network.num_inputs == 0 or network.num_outputs == 0:
        raise InputError(f"{graph}: is no graph with inputs and outputs; export the bundle again")
    return network, parser


def _strongly_typed(module: Any) -> int:
    """Flags of a network whose types are those of the graph. TensorRT 11 knows no other and may not name the flag."""
    flag = getattr(getattr(module, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _refusal(library: TensorRT, graph: Path, parser: Any) -> str:
    here = f"{library.backend} {library.version}"
    if parser.num_errors == 0:
        return f"{graph}: {here} cannot read it; export the bundle again"
    error = parser.get_error(0)
    reason, operator, node = _one_line(error.desc()), error.node_operator(), error.node_name()
    if operator:
        reason = f"{getattr(error.code(), 'name', error.code())}: {reason}"
        return f"{graph}: {here} refuses the operator {operator} of the node {node!r} ({reason}); update it"
    return f"{graph}: {here} cannot read it ({reason}); export the bundle again"


def _describe_inputs(builder: Any, config: Any, network: Any, batch: BatchRange, windows: Shapes) -> None:
    """One optimisation profile: every input's first axis over the range, the others as they are."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = windows.get(tensor.name, tuple(tensor.shape)[1:])
        # One size of everything but the batch: kernels for it alone, and one CUDA graph.
        tensor.shape = (-1, *shape)
        profile.set_shape(tensor.name, *((size, *shape) for size in batch))
    config.add_optimization_profile(profile)


def _keep_fp32_exact(module: Any, config: Any) -> None:
    """TF32 is on by default and rounds the factors of fp32 products to 10 bits: a precision that no graph asked for."""
    if hasattr(module.BuilderFlag, "TF32"):
        config.clear_flag(module.BuilderFlag.TF32)


def _load_timings(config: Any, file: Path) -> None:
    """Measurements of earlier builds; those of another GPU or version are refused by the library: start afresh."""
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    if not config.set_timing_cache(config.create_timing_cache(content), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _one_line(text: str) -> str:
    return " ".join(text.split())
