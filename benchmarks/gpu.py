"""The full-size SW-T on this machine's GPU: what it says in every precision, and how fast, beside its rivals.

    python benchmarks/gpu.py --bundle build/bundle --checkpoint build/rep [--out benchmarks/results/gpu.json]

Builds the engines of every TensorRT that is installed, compares every graph of the bundle on every backend with its
fp32 graph on ONNX Runtime's CPU provider, and times one window from arrays on the host to logits on the host, all
variants interleaved. Without --bundle a model of configs/full.yaml with random weights is exported and calibrated: good
for latency, and it says nothing about accuracy. What cannot run is listed with its reason. Without a GPU: nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

# Before any library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
from gpu_report import GpuResult, Parity, Variant, compare, faults, print_result
from gpu_variants import RUNS_ON, Call, Opened, Run, Tell, Windows, open_everything
from numpy.typing import NDArray

from rep_edge.checkpoint import load_pretrained
from rep_edge.errors import InputError
from rep_edge.export.machine import describe_machine
from rep_edge.files import require_writable, write_file
from rep_edge.model import RepModel
from rep_edge.provenance import package_versions
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.engines.gpu import Gpu, find_gpu
from rep_edge.runtime.softmax import softmax
from rep_edge.runtime.timing import interleave
from rep_edge.signals import WindowSpec

PACKAGES = ("tensorrt", "tensorrt-rtx", "cuda-bindings", "onnxruntime-gpu", "onnxruntime-ep-nv-tensorrt-rtx", "triton")
BETWEEN_BACKENDS = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-2}
"""Largest difference of a probability between two backends that run the same graph."""
TOLERANCE = {"fp32": 1e-4, "fp16": 0.03}
"""Largest difference of a probability to fp32 that is asked of PyTorch: what export and calibration ask of a graph."""


class Subject(NamedTuple):
    """What is measured. model: that the bundle was exported from, None where its checkpoint was not given."""

    bundle: Bundle
    model: RepModel | None
    source: str


def main() -> None:
    options = _options()
    try:
        wrong = run(options)
    except InputError as error:
        wrong = [str(error)]
    for line in wrong:
        _tell(f"error: {line}")
    sys.exit(1 if wrong else 0)


def run(options: argparse.Namespace) -> list[str]:
    """Measure, print and write; why the run failed, if it did. Raises InputError where nothing can be measured."""
    gpu = find_gpu()
    require_writable(options.out)
    with tempfile.TemporaryDirectory() as folder:
        subject = _subject(options, Path(folder))
        result = measure(subject, gpu, options, _tell)
    print_result(result)
    write_file(options.out, msgspec.json.format(msgspec.json.encode(result), indent=1))
    _tell(f"wrote {options.out}")
    return faults(result, options.require)


def measure(subject: Subject, gpu: Gpu, options: argparse.Namespace, tell: Tell) -> GpuResult:
    """Open, compare and time everything that runs here."""
    spec = subject.bundle.manifest.spec
    windows, described = parity_windows(subject, options.windows, tell)
    patterns = [spec.pattern_name(pattern) for pattern in spec.patterns()]
    opened = open_everything(subject.bundle, subject.model, gpu, patterns[: options.compiled], windows, tell)
    parity = check_parity(subject.bundle, opened, windows)
    one = {name: values[:1] for name, values in windows.items()}
    calls = {variant: _bound(run, one, variant.pattern) for variant, run in opened.runs.items()}
    tell(f"timing {len(calls)} variants, {options.rounds} rounds")
    times = interleave({str(variant): call for variant, call in calls.items()}, options.rounds, options.repeats)
    return GpuResult(
        machine=_machine(gpu),
        source=subject.source,
        windows=described,
        rounds=options.rounds,
        repeats=options.repeats,
        parity=parity,
        latency=compare({variant: times[str(variant)] for variant in calls}),
        skipped=opened.skipped,
        notes=opened.notes,
    )


def check_parity(bundle: Bundle, opened: Opened, windows: Windows) -> list[Parity]:
    """Every variant beside the fp32 graph on ONNX Runtime's CPU provider; one that fails now is taken out."""
    backend, wanted = OnnxRuntimeBackend(), {}
    found = []
    for variant, run in sorted(opened.runs.items(), key=lambda item: item[0]):
        pattern = variant.pattern
        if pattern not in wanted:
            wanted[pattern] = _probabilities(backend.open(bundle, pattern, "fp32").run, windows, pattern)
        try:
            said = _probabilities(run, windows, pattern)
        except Exception as error:  # Packages of all kinds: the rest goes on.
            opened.skip(variant, error)
            del opened.runs[variant]
            continue
        difference = np.abs(said - wanted[pattern]).max()
        found.append(
            Parity(
                variant=variant,
                windows=len(said),
                same_label=float((said.argmax(axis=1) == wanted[pattern].argmax(axis=1)).mean()),
                largest=float(difference) if np.isfinite(difference) else float("inf"),
                bound=_bound_of(bundle, variant),
                ours=_is_ours(variant),
            )
        )
    return found


def _is_ours(variant: Variant) -> bool:
    return variant.runs_on not in ("pytorch", "torch-compile")


def _bound_of(bundle: Bundle, variant: Variant) -> float:
    """What the graph was held to when it was made, and on top what two backends may differ by; fp32 is compared with
    itself."""
    if not _is_ours(variant):
        return TOLERANCE[variant.precision]
    between = BETWEEN_BACKENDS[variant.precision]
    if variant.precision == "fp32":
        return between
    return bundle.graph(variant.pattern, variant.precision).parity.tolerance + between


def _probabilities(run: Run, windows: Windows, pattern: str) -> NDArray[np.float64]:
    """Of each window alone, as a device runs it, [n, classes]."""
    live = {name: windows[name] for name in pattern.split("+")}
    count = len(next(iter(live.values())))
    rows = [run({name: values[i : i + 1] for name, values in live.items()})[0] for i in range(count)]
    return softmax(np.stack(rows))


def parity_windows(subject: Subject, count: int, tell: Tell) -> tuple[Windows, str]:
    """Test windows of the model's own data where they can be had, else noise; and in words which."""
    spec, model = subject.bundle.manifest.spec, subject.model
    if model is not None:
        try:
            from rep_edge.calibration.windows import gather
            from rep_edge.data.splits import open_splits

            test = open_splits(model.config).test
            rows = np.linspace(0, len(test) - 1, min(count, len(test))).astype(int).tolist()
            return gather(test, spec.names, rows).values, f"{len(rows)} test windows of {test.name}"
        except (InputError, ImportError) as error:  # A GPU machine need not have what reads recordings.
            tell(f"no real windows to compare on, noise instead: {error}")
    return _noise(spec, count), f"{count} windows of noise"


def _noise(spec: WindowSpec, count: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {m.name: rng.standard_normal((count, *m.shape)).astype(np.float32) for m in spec.modalities}


def _subject(options: argparse.Namespace, folder: Path) -> Subject:
    """The bundle that was named, with its model where that was; else one with random weights."""
    if options.bundle is None:
        if options.checkpoint is not None:
            raise InputError("--checkpoint: goes with --bundle, which was exported from it; give both")
        return random_subject(options.config, folder, _tell)
    bundle = open_bundle(options.bundle)
    if options.checkpoint is None:
        return Subject(bundle, None, str(options.bundle))
    model = load_pretrained(options.checkpoint)
    if model.spec != bundle.manifest.spec or tuple(model.labels) != bundle.manifest.labels:
        raise InputError(
            f"{options.checkpoint}: has other signals or labels than {options.bundle}; give the bundle's own checkpoint"
        )
    return Subject(bundle, model, f"{options.bundle}, from {options.checkpoint}")


def random_subject(config: Path, folder: Path, tell: Tell) -> Subject:
    """The model of a configuration with random weights, exported and in every precision."""
    from speed import random_model

    from rep_edge.calibration.adversarial import adversarial_windows
    from rep_edge.config import read_config
    from rep_edge.export.exporting import Source, export_bundle

    model = random_model(read_config(config), "learned")
    noise = adversarial_windows(model.spec, model.config.seed)["noise"]
    export_bundle(model, folder / "bundle", Source(noise, "none: random weights"), tell)
    return Subject(add_precisions(open_bundle(folder / "bundle"), tell), model, f"{config}, random weights")


class NoiseSource:
    """Noise with labels in turn, for calibration of a model that knows nothing."""

    def __init__(self, bundle: Bundle, count: int) -> None:
        self.spec, self.labels = bundle.manifest.spec, bundle.manifest.labels
        self.targets: NDArray[np.int64] = np.arange(count, dtype=np.int64) % len(self.labels)
        self.recordings = [str(i) for i in range(count)]
        self._windows = _noise(self.spec, count)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> _NoiseWindow:
        return _NoiseWindow({name: values[index] for name, values in self._windows.items()})


class _NoiseWindow(NamedTuple):
    values: dict[str, NDArray[np.float32]]


def add_precisions(bundle: Bundle, tell: Tell, windows: int = 56) -> Bundle:
    """fp16 and int8 graphs beside those of fp32, as `rep-edge calibrate` makes them. Nothing can be lost that random
    weights know, so that only the differences to fp32 hold a layer back."""
    from rep_edge.calibration.calibrating import CalibrationSettings, Sides, calibrate

    noise = NoiseSource(bundle, windows)
    settings = CalibrationSettings(methods=("minmax",), budget=1.0, windows=windows)
    sides = Sides(noise, noise, noise, "noise")
    return calibrate(bundle, sides, settings, package_versions("onnx", "onnxruntime", "numpy"), tell).bundle


def _machine(gpu: Gpu) -> dict[str, str | int]:
    versions = {f"{name} version": v for name, v in package_versions(*PACKAGES).items()}
    card: dict[str, str | int] = {
        "gpu": gpu.name,
        "compute capability": gpu.compute_capability,
        "driver": gpu.driver,
        "gpu memory, MB": gpu.memory_bytes // 10**6,
    }
    return {**card, **describe_machine(), **versions}


def _bound(run: Run, windows: Windows, pattern: str) -> Call:
    live = {name: windows[name] for name in pattern.split("+")}
    return lambda: run(live)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="Folder that rep-edge export wrote, calibrated or not.")
    parser.add_argument("--checkpoint", type=Path, help="The model of the bundle; adds PyTorch and real windows.")
    parser.add_argument("--config", type=Path, default=Path("configs/full.yaml"), help="Of the random model.")
    parser.add_argument("--windows", type=int, default=64, help="That parity is checked on.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--compiled", type=int, default=1, help="Patterns to try torch.compile on: minutes each.")
    parser.add_argument("--require", action="append", default=[], choices=RUNS_ON, help="Must run. Repeatable.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    return parser.parse_args()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
