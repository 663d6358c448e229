"""The latency and memory of a bundle on this machine, beside its rivals where their checkpoint is given."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rep_edge.calibration.noise import noise
from rep_edge.errors import InputError
from rep_edge.export.machine import describe_machine
from rep_edge.export.streamed import StreamedHop
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.footprint import footprint_mb
from rep_edge.runtime.timing import Percentiles, Ratio, Times, interleave, percentiles, ratio
from rep_edge.runtime.trimming import SHORTEST
from rep_edge.signals import Example

if TYPE_CHECKING:
    from rep_edge.model import RepModel

Call = Callable[[], object]
Windows = dict[str, Example]
Variant = tuple[str, str]
"""(kind of graph, pattern)"""

ROUNDS, REPEATS = 40, 5
PRECISION = "fp32"
"""What the ratios, the rivals and the memory are of; graphs in other precisions are timed beside it."""
GRAPH, PLACEHOLDER, SHORT_TEXT, IN_TURN, STREAM = "graph", "placeholder", "short text", "in turn", "stream"
BACKBONE, TOWER, EAGER, COMPILE = "backbone", "tower", "eager", "compile"
EVERY = "every pattern"
SEPARATOR = "/"


class BenchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `rep-edge bench` measured.

    machine: where; latency_ms: kind of graph -> pattern -> percentiles of one window, one thread.
    ratios: name -> how many times as long; bundle_mb: size on disk; pss_mb: memory of a process that holds all graphs
    warm, above an empty interpreter (None where the system does not tell).
    stream_overhead: share that a stream adds to its graphs' own time, None for examples that stand alone; skipped: what
    was not measured -> why.
    """

    machine: dict[str, str | int]
    latency_ms: dict[str, dict[str, Percentiles]]
    ratios: dict[str, Ratio]
    bundle_mb: float
    pss_mb: float | None
    stream_overhead: float | None
    skipped: dict[str, str]


def run_bench(path: Path, checkpoint: Path | None, tell: Callable[[str], None]) -> BenchResult:
    """Measure the bundle at `path` with one thread and batch 1, all variants interleaved in one run.

    checkpoint: the model of the bundle, which adds the rivals. Raises InputError where either cannot be opened or they
    do not belong together.
    """
    # Before any library starts its threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    bundle = open_bundle(path)
    tell("memory: a fresh interpreter opens every graph")
    pss = footprint_mb(path)
    windows = _windows(bundle)
    calls = _graphs(bundle, windows) | _streams(bundle)
    skipped = {} if bundle.manifest.hop_s else {STREAM: "examples stand alone"}
    with tempfile.TemporaryDirectory() as folder:
        if checkpoint is None:
            skipped["rivals"] = "no checkpoint was given"
        else:
            model = _matching_model(checkpoint, bundle, windows)
            calls |= _rivals(model, windows, Path(folder), skipped, tell)
        tell(f"timing {len(calls)} variants, {ROUNDS} rounds")
        names = {SEPARATOR.join(variant): variant for variant in calls}
        timed = interleave({name: calls[variant] for name, variant in names.items()}, ROUNDS, REPEATS)
    times = {names[name]: values for name, values in timed.items()}
    latency: dict[str, dict[str, Percentiles]] = {}
    for (kind, pattern), values in times.items():
        latency.setdefault(kind, {})[pattern] = percentiles(values)
    return BenchResult(
        machine=describe_machine(),
        latency_ms=latency,
        ratios=_ratios(times, bundle),
        bundle_mb=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6,
        pss_mb=pss,
        stream_overhead=_stream_overhead(times),
        skipped=skipped,
    )


def _windows(bundle: Bundle) -> Windows:
    """Seeded noise, [1, *shape] by modality: a graph takes equally long whatever it hears. Texts are whole, as PyTorch
    and engines take them."""
    rng = np.random.default_rng(0)
    spec = bundle.manifest.spec
    return {m.name: noise(m, 1, rng) for m in spec.modalities}


def _graphs(bundle: Bundle, windows: Windows) -> dict[Variant, Call]:
    """Every graph of the bundle alone, those of fp32 one after the other, and the complete one fed placeholders."""
    spec, backend = bundle.manifest.spec, OnnxRuntimeBackend()
    silent = {m.name: m.blank()[None] for m in spec.modalities}
    calls: dict[Variant, Call] = {}
    whole = backend.open(bundle, spec.pattern_name(spec.complete), PRECISION)
    for pattern in spec.patterns():
        name = spec.pattern_name(pattern)
        runner = whole if pattern == spec.complete else backend.open(bundle, name, PRECISION)
        calls[GRAPH, name] = _bind(runner.run, {m: windows[m] for m in spec.names if m in pattern})
        if pattern != spec.complete:
            filled = {m: windows[m] if m in pattern else silent[m] for m in spec.names}
            calls[PLACEHOLDER, name] = _bind(whole.run, filled)
        if short := _short_texts(bundle, windows, name):
            calls[SHORT_TEXT, name] = _bind(runner.run, short)
    for precision in bundle.manifest.graph_precisions:
        if precision != PRECISION:
            for name in map(spec.pattern_name, spec.patterns()):
                runner = backend.open(bundle, name, precision)
                calls[precision, name] = _bind(runner.run, {m: windows[m] for m in name.split("+")})
    own = [call for (kind, _), call in calls.items() if kind == GRAPH]
    calls[IN_TURN, EVERY] = lambda: [call() for call in own]
    return calls


def _short_texts(bundle: Bundle, windows: Windows, pattern: str) -> Windows:
    """The pattern's windows with texts cut to a quarter; empty where it has none that its graph takes so."""
    live = {name: windows[name] for name in pattern.split("+")}
    cut = {n: x[:, : max(SHORTEST, x.shape[1] // 4)] for n, x in live.items() if n in bundle.manifest.trimmed}
    return {**live, **cut} if cut else {}


def _streams(bundle: Bundle) -> dict[Variant, Call]:
    """The complete pattern as a stream has it; nothing where examples stand alone."""
    spec = bundle.manifest.spec
    if not spec.hop_s:
        return {}
    classifier = Classifier.load(bundle.path, backend="onnxruntime-cpu", precision=PRECISION)
    return {(STREAM, spec.pattern_name(spec.complete)): StreamedHop(classifier)}


def _bind(run: Callable[[Windows], object], windows: Windows) -> Call:
    return lambda: run(windows)


def _matching_model(checkpoint: Path, bundle: Bundle, windows: Windows) -> RepModel:
    """The model of a checkpoint. Raises InputError where it is not the one that the bundle was exported from."""
    from rep_edge.checkpoint import load_pretrained
    from rep_edge.export.parity import check_parity

    model = load_pretrained(checkpoint)
    manifest = bundle.manifest
    theirs = (manifest.spec, tuple(manifest.labels), manifest.task)
    if (model.spec, tuple(model.labels), model.task.name) != theirs:
        raise InputError(
            f"{checkpoint}: has other signals or labels than {bundle.path}; give the bundle's own checkpoint"
        )
    complete = bundle.graph_file(model.spec.pattern_name(model.spec.complete), PRECISION)
    try:
        check_parity(model, model.spec.complete, complete, {"noise": windows})
    except InputError as error:
        raise InputError(
            f"{checkpoint}: does not answer as {bundle.path} does; give the bundle's own checkpoint"
        ) from error
    return model


def _rivals(
    model: RepModel, windows: Windows, folder: Path, skipped: dict[str, str], tell: Callable[[str], None]
) -> dict[Variant, Call]:
    """The backbone and each tower without REP as graphs, and the trained model in PyTorch."""
    import torch

    from rep_edge.export.rivals import compiled, eager, write_plain_graphs

    torch.set_num_threads(1)
    spec, backend = model.spec, OnnxRuntimeBackend()
    complete = spec.pattern_name(spec.complete)
    tell("rivals: exporting the backbone and each tower without REP")
    calls: dict[Variant, Call] = {}
    for name, file in write_plain_graphs(model, folder).items():
        variant = (BACKBONE, complete) if name == BACKBONE else (TOWER, name)
        inputs = windows if name == BACKBONE else {name: windows[name]}
        calls[variant] = _bind(backend.open_file(file).run, inputs)
    for pattern in spec.patterns():
        calls[EAGER, spec.pattern_name(pattern)] = eager(model, pattern, windows)
    tell("rivals: torch.compile")
    try:
        calls[COMPILE, complete] = compiled(model, spec.complete, windows)
    except RuntimeError as error:
        skipped[COMPILE] = str(error)
        tell(f"torch.compile cannot run here and is left out: {error}")
    return calls


def _stream_overhead(times: dict[Variant, Times]) -> float | None:
    for (kind, pattern), values in times.items():
        if kind == STREAM:
            return ratio(values, times[GRAPH, pattern]).median - 1
    return None


def _ratios(times: dict[Variant, Times], bundle: Bundle) -> dict[str, Ratio]:
    """Every pair whose two sides were timed."""
    spec = bundle.manifest.spec
    complete = spec.pattern_name(spec.complete)
    full: Variant = (GRAPH, complete)
    pairs: dict[str, tuple[Variant, Variant]] = {"full_vs_backbone": (full, (BACKBONE, complete))}
    incomplete = [spec.pattern_name(pattern) for pattern in spec.patterns()[1:]]
    pairs |= {f"{name}_vs_placeholder": ((GRAPH, name), (PLACEHOLDER, name)) for name in incomplete}
    pairs |= {f"{name}_vs_tower": ((GRAPH, name), (TOWER, name)) for name in spec.names}
    pairs |= {"eager_vs_full": ((EAGER, complete), full), "compile_vs_full": ((COMPILE, complete), full)}
    others = {kind for kind, _ in times if kind in bundle.manifest.graph_precisions}
    every = map(spec.pattern_name, spec.patterns())
    pairs |= {f"{p}_{other}_vs_{PRECISION}": ((other, p), (GRAPH, p)) for p in every for other in sorted(others)}
    ratios = {key: ratio(times[a], times[b]) for key, (a, b) in pairs.items() if a in times and b in times}
    own = np.sum(
        [np.median(values, axis=1, keepdims=True) for (kind, _), values in times.items() if kind == GRAPH], axis=0
    )
    return ratios | {"changing_vs_same": ratio(times[IN_TURN, EVERY], own)}
