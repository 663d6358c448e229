"""What fp16 and int8 cost in accuracy and gain in speed on this machine's CPU.

    python benchmarks/precision.py [--seeds 0,1,2] [--full CHECKPOINT] [--work build/precision]

Accuracy: the three seeds' REP models that benchmarks/accuracy.py trained, exported and calibrated, each precision on
the test windows, on which nothing was fitted. Speed: the graphs of one full-size model (configs/full.yaml, trained),
fp32 as the runtime runs it, fp32 with ONNX Runtime's prepacking, fp16 and int8, interleaved in one run with one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Before any library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from rep_edge.calibration.calibrating import CalibrationSettings, Outcome, Sides, calibrate
from rep_edge.calibration.drift_picture import draw_drift
from rep_edge.calibration.fp16 import rounded_to_fp16
from rep_edge.calibration.graphs import read_graph
from rep_edge.calibration.search import Judge
from rep_edge.calibration.windows import LabelledWindows, WindowSource, gather
from rep_edge.checkpoint import load_pretrained
from rep_edge.data.splits import open_splits
from rep_edge.export.exporting import Source, export_bundle
from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file
from rep_edge.provenance import package_versions
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.manifest import PrecisionRecord
from rep_edge.runtime.timing import Percentiles, Ratio, interleave, percentiles, ratio

ROUNDS, REPEATS = 40, 5
PARITY_WINDOWS = 64
PREPACKED = "fp32, prepacked"


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """One model, pattern and precision on test windows. accuracy: share right; loss: fp32's share less this one;
    standard_error: of the loss; agreement: share with fp32's label."""

    model: str
    pattern: str
    precision: str
    windows: int
    accuracy: float
    loss: float
    standard_error: float
    agreement: float
    kept: int
    converted: int


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """latency_ms: pattern -> variant -> percentiles; speedup: pattern -> variant -> how many times as fast as fp32."""

    latency_ms: dict[str, dict[str, Percentiles]]
    speedup: dict[str, dict[str, Ratio]]
    weights_mb: dict[str, float]


def main() -> None:
    options = _options()
    checkpoints = {f"seed {s}": Path(f"build/accuracy/seed-{s}/REP-learned") for s in options.seeds.split(",") if s}
    if options.full is not None:
        checkpoints["full size"] = options.full
    losses: list[Loss] = []
    bundles: dict[str, Bundle] = {}
    for name, checkpoint in checkpoints.items():
        _tell(f"== {name}: {checkpoint}")
        bundles[name], test = calibrated(name, checkpoint, options.work, options.out)
        losses += test_losses(name, bundles[name], test)
    speed = measure(bundles["full size"]) if options.full is not None else None
    _print(losses, speed)
    made = {name: bundle.manifest.precisions for name, bundle in bundles.items()}
    record = {"machine": describe_machine(), "losses": losses, "speed": speed, "records": made}
    write_file(options.out / "precision.json", msgspec.json.format(msgspec.json.encode(record), indent=1))
    _tell(f"wrote {options.out / 'precision.json'}")


def calibrated(name: str, checkpoint: Path, work: Path, out: Path) -> tuple[Bundle, WindowSource]:
    """The bundle of a checkpoint with every precision, made where it is not there yet, and its test windows."""
    path = work / name.replace(" ", "-")
    model = load_pretrained(checkpoint)
    splits = open_splits(model.config)
    if not path.exists():
        rows = np.linspace(0, len(splits.test) - 1, PARITY_WINDOWS).astype(int).tolist()
        export_bundle(model, path, Source(gather(splits.test, model.spec.names, rows).values, splits.test.name), _tell)
    bundle = open_bundle(path)
    if not bundle.manifest.precisions:
        sides = Sides(splits.train, splits.validation, splits.test, splits.train.name)
        versions = package_versions("onnx", "onnxruntime", "numpy")
        outcome: Outcome = calibrate(bundle, sides, CalibrationSettings(), versions, _tell)
        draw_drift(outcome.drift, outcome.bundle.manifest.precisions, out / f"precision-{path.name}.png")
        bundle = outcome.bundle
    return bundle, splits.test


def test_losses(name: str, bundle: Bundle, test: WindowSource) -> list[Loss]:
    """Every pattern and precision on all test windows; fp16 with every number rounded, as a GPU does."""
    windows = gather(test, test.spec.names, range(len(test)))
    return [_loss(name, bundle, record, windows.values, windows.targets) for record in bundle.manifest.precisions]


def _loss(
    name: str,
    bundle: Bundle,
    record: PrecisionRecord,
    values: dict[str, NDArray[np.float32]],
    targets: NDArray[np.int64],
) -> Loss:
    live = {modality: values[modality] for modality in record.pattern.split("+")}
    fp32 = read_graph(bundle, record.pattern, "fp32")
    if record.precision == "fp16":
        model = rounded_to_fp16(fp32, {layer.name for layer in record.kept})
    else:
        model = read_graph(bundle, record.pattern, record.precision)
    found = Judge(fp32, LabelledWindows(live, targets), {})(model)
    return Loss(
        model=name,
        pattern=record.pattern,
        precision=record.precision,
        windows=found.windows,
        accuracy=found.accuracy,
        loss=found.loss,
        standard_error=found.standard_error,
        agreement=found.agreement,
        kept=len(record.kept),
        converted=record.converted,
    )


def measure(bundle: Bundle) -> Speed:
    """Latency of one window, batch 1, of every pattern and precision."""
    spec, backend, rng = bundle.manifest.spec, OnnxRuntimeBackend(), np.random.default_rng(0)
    windows = {m.name: rng.standard_normal((1, *m.shape)).astype(np.float32) for m in spec.modalities}
    latency: dict[str, dict[str, Percentiles]] = {}
    speedup: dict[str, dict[str, Ratio]] = {}
    for pattern in map(spec.pattern_name, spec.patterns()):
        live = {name: windows[name] for name in pattern.split("+")}
        calls: dict[str, Callable[[], object]] = {}
        for precision in bundle.manifest.weights:
            runner = backend.open(bundle, pattern, precision)
            calls[precision] = _bind(runner.run, live)
        session = _prepacked(bundle.graph_file(pattern, "fp32"))
        calls[PREPACKED] = _bind(lambda feed, s=session: s.run(None, feed), live)
        times = interleave(calls, ROUNDS, REPEATS)
        latency[pattern] = {name: percentiles(values) for name, values in times.items()}
        speedup[pattern] = {name: ratio(times["fp32"], values) for name, values in times.items() if name != "fp32"}
        speedup[pattern]["int8 vs fp32, prepacked"] = ratio(times[PREPACKED], times["int8"])
    weights = {precision: record.size / 1e6 for precision, record in bundle.manifest.weights.items()}
    return Speed(latency_ms=latency, speedup=speedup, weights_mb=weights)


def _prepacked(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _bind(run: Callable[..., object], live: dict[str, NDArray[np.float32]]) -> Callable[[], object]:
    return lambda: run(live)


def _print(losses: Sequence[Loss], speed: Speed | None) -> None:
    console = Console()
    table = Table(title="accuracy on test windows, points lost to fp32", title_justify="left")
    for column in ("model", "live sensors", "precision", "accuracy %", "lost", "± (1 s.e.)", "same label %", "kept"):
        table.add_column(column)
    for r in losses:
        figures = (100 * r.accuracy, 100 * r.loss, 100 * r.standard_error, 100 * r.agreement)
        table.add_row(r.model, r.pattern, r.precision, *(f"{value:.2f}" for value in figures), str(r.kept))
    console.print(table)
    if speed is None:
        return
    table = Table(title="full size, one thread, batch 1", title_justify="left")
    for column in ("live sensors", "variant", "p50 ms", "p99 ms", "times as fast as fp32", "90 % of rounds"):
        table.add_column(column)
    for pattern, variants in speed.latency_ms.items():
        for name, p in variants.items():
            gain = speed.speedup[pattern].get(name)
            gained = ("", "") if gain is None else (f"{gain.median:.2f}", f"{gain.p5:.2f} to {gain.p95:.2f}")
            table.add_row(pattern, name, f"{p.p50:.2f}", f"{p.p99:.2f}", *gained)
    console.print(table)
    for pattern, ratios in speed.speedup.items():
        gain = ratios["int8 vs fp32, prepacked"]
        spread = f"{gain.median:.2f} ({gain.p5:.2f} to {gain.p95:.2f})"
        console.print(f"{pattern}: int8 is {spread} times as fast as prepacked fp32")
    console.print(f"weights in MB: {', '.join(f'{name} {size:.1f}' for name, size in speed.weights_mb.items())}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--full", type=Path, help="Checkpoint of a trained full-size model; without one: no speed.")
    parser.add_argument("--work", type=Path, default=Path("build/precision"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
