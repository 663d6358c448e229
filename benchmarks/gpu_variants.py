"""Everything that benchmarks/gpu.py runs: the bundle's graphs on every backend, and the model in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np
import torch
from gpu_report import Variant
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.export.specialise import PatternGraph
from rep_edge.model import RepModel
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.choosing import BACKENDS, CPU_BACKEND, NATIVE, start_backend
from rep_edge.runtime.classifier import open_graph
from rep_edge.runtime.engines.build import BatchRange
from rep_edge.runtime.engines.cache import cache_folder
from rep_edge.runtime.engines.compiling import compile_here
from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.library import find_tensorrt

Windows = Mapping[str, NDArray[np.float32]]
Run: TypeAlias = Callable[[Windows], NDArray[np.float32]]
"""Live windows on the host, [1, channels, samples], to logits on the host, [1, classes]."""
Call = Callable[[], object]
Tell = Callable[[str], None]

EAGER, COMPILED = "pytorch", "torch-compile"
RUNS_ON = (*BACKENDS, EAGER, COMPILED)
BATCH = BatchRange(1, 1, 8)
"""As `rep-edge compile` builds engines where nothing else is asked for."""


class Opened:
    """What can run, what cannot and why, and what is not as it should be."""

    def __init__(self) -> None:
        self.runs: dict[Variant, Run] = {}
        self.skipped: dict[str, str] = {}
        self.notes: dict[str, str] = {}

    def skip(self, what: object, error: Exception) -> None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        self.skipped[str(what)] = lines[0] if lines else type(error).__name__


def build_engines(bundle: Bundle, gpu: Gpu, backend: str, opened: Opened, tell: Tell) -> None:
    """The engines of a backend that the cache lacks; a precision that fails leaves the others alone."""
    try:
        library = find_tensorrt(backend)
    except InputError as error:
        opened.skip(backend, error)
        return
    for precision in bundle.manifest.weights:
        try:
            compile_here(bundle, library, gpu, (precision,), BATCH, cache_folder(), tell)
        except InputError as error:
            opened.skip(f"{backend} {precision}", error)


def open_backend(bundle: Bundle, name: str, opened: Opened) -> None:
    """Every graph of the bundle on a backend, as a classifier opens it; on the CPU those of fp32 alone."""
    if name in opened.skipped:
        return
    spec = bundle.manifest.spec
    try:
        backend = start_backend(name)
    except InputError as error:
        opened.skip(name, error)
        return
    for precision in ("fp32",) if name == CPU_BACKEND else bundle.manifest.weights:
        if f"{name} {precision}" in opened.skipped:
            continue
        for pattern in map(spec.pattern_name, spec.patterns()):
            variant = Variant(name, precision, pattern)
            try:
                runner = open_graph(bundle, backend, pattern, precision)
            except InputError as error:
                opened.skip(variant, error)
                continue
            opened.runs[variant] = runner.run
            if runner.note:
                opened.notes[str(variant)] = runner.note


def open_pytorch(
    model: RepModel, device: str, compile_for: Sequence[str], windows: Windows, opened: Opened, tell: Tell
) -> None:
    """The trained model as it is, in fp32 and under autocast in fp16; compiled for the patterns of `compile_for`.

    windows: one of each modality, to compile with.
    """
    # fp32 means fp32 for everybody.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    # All variants compile one method: beyond this many PyTorch would run it uncompiled without a word.
    torch._dynamo.config.recompile_limit = 1000
    own = deepcopy(model).to(device).eval().requires_grad_(False)
    for pattern in own.spec.patterns():
        name = own.spec.pattern_name(pattern)
        for precision in ("fp32", "fp16"):
            graph = PatternGraph(own, pattern)
            opened.runs[Variant(EAGER, precision, name)] = torch_run(graph, graph.names, device, precision)
            if name in compile_for:
                variant = Variant(COMPILED, precision, name)
                tell(f"{variant}: compiling and tuning")
                try:
                    opened.runs[variant] = compiled_run(graph, device, precision, windows)
                except Exception as error:  # The compiler's errors share no base class.
                    opened.skip(variant, error)


def compiled_run(graph: PatternGraph, device: str, precision: str, windows: Windows) -> Run:
    """The same under torch.compile at its best, which on a GPU makes CUDA graphs; compiled and recorded now."""
    compiled = torch.compile(graph, mode="max-autotune", dynamic=False)
    begin_step: Callable[[], None] = torch.compiler.cudagraph_mark_step_begin

    def step(*tensors: torch.Tensor) -> Any:
        begin_step()  # Whatever ran before, this is no continuation of it.
        return compiled(*tensors)

    run = torch_run(step, graph.names, device, precision)
    live = {name: windows[name][:1] for name in graph.names}
    for _ in range(3):  # It compiles, then records, then replays.
        run(live)
    return run


def torch_run(module: Callable[..., Any], names: Sequence[str], device: str, precision: str) -> Run:
    """From host arrays to host logits as fast as PyTorch can: through pinned memory that is taken once."""
    on_gpu = device.startswith("cuda")
    staged: dict[str, torch.Tensor] = {}
    moved: dict[str, torch.Tensor] = {}

    def run(windows: Windows) -> NDArray[np.float32]:
        for name in names:
            values = torch.from_numpy(windows[name])
            if name not in staged:
                staged[name] = torch.empty_like(values, pin_memory=on_gpu)
                moved[name] = torch.empty_like(values, device=device)
            staged[name].copy_(values)
            moved[name].copy_(staged[name], non_blocking=True)
        with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=precision == "fp16"):
            logits = module(*(moved[name] for name in names))
        answer: NDArray[np.float32] = logits.float().cpu().numpy()
        return answer

    return run


def torch_finds_gpu() -> bool:
    """A PyTorch built for the CPU finds none, whatever there is."""
    return torch.cuda.is_available()


def open_everything(
    bundle: Bundle, model: RepModel | None, gpu: Gpu, compile_for: Sequence[str], windows: Windows, tell: Tell
) -> Opened:
    """All that this machine can run."""
    opened = Opened()
    for name in NATIVE:
        build_engines(bundle, gpu, name, opened, tell)
    for name in BACKENDS:
        tell(f"{name}: opening")
        open_backend(bundle, name, opened)
    if model is None:
        opened.skipped |= dict.fromkeys((EAGER, COMPILED), "no checkpoint was given")
    elif not torch_finds_gpu():
        opened.skipped |= dict.fromkeys((EAGER, COMPILED), f"torch {torch.__version__} finds no GPU")
    else:
        open_pytorch(model, "cuda", compile_for, windows, opened, tell)
    return opened
