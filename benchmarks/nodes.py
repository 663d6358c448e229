"""How many sensor nodes in real time one core carries: CPU time of a node's hop, and where it goes.

    python benchmarks/nodes.py [--bundle build/bundle] [--out benchmarks/results/nodes.json]

One thread on one core does what the service's loop does: takes chunks of 0.1 s out of queues, places them on the time
line, cuts windows and judges them, answers as many windows at once as the batch holds, and tracks events. A node has
one hop a second: a core carries as many nodes as their hops fit into a second. Without --bundle a model of
configs/full.yaml with random weights is exported and calibrated: a graph takes equally long whatever it knows.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

# Before any library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file
from rep_edge.provenance import package_versions
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.track_settings import TrackSettings
from rep_edge.runtime.health import HealthLimits
from rep_edge.runtime.predicting import predict
from rep_edge.runtime.service.node import Node, NodeSettings
from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.symptoms import limits_of
from rep_edge.runtime.windows import StreamSettings
from rep_edge.signals import WindowSpec

CHUNK_S = 0.1
WARM_UP_HOPS = 4
CALIBRATION_WINDOWS = 56
FEW_NODES = 100
"""Below as many nodes on a core it is worth looking where the time goes."""
PARTS = ("graph", "windows and health", "clock", "ring", "tracker", "queue and the rest")

P = ParamSpec("P")
R = TypeVar("R")


class Spread(msgspec.Struct, frozen=True):
    """The median over rounds, and where 90 % of the rounds lie."""

    median: float
    p5: float
    p95: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One precision and batch. cpu_ms: CPU time of a node's hop; parts_ms: part -> its share of that; nodes: that a
    core carries at one hop in `hop_s`."""

    precision: str
    batch: int
    cpu_ms: Spread
    parts_ms: dict[str, float]
    nodes: Spread


class Meter:
    """CPU time of this thread by part."""

    def __init__(self) -> None:
        self.spent_s = dict.fromkeys(PARTS, 0.0)

    def timed(self, part: str, call: Callable[P, R]) -> Callable[P, R]:
        """The call, which adds what it takes to its part."""

        def counted(*arguments: P.args, **named: P.kwargs) -> R:
            began_s = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                self.spent_s[part] += time.thread_time() - began_s

        return counted

    def watch(self, owner: object, method: str, part: str) -> None:
        """From now on what this object's method takes is added to a part."""
        setattr(owner, method, self.timed(part, getattr(owner, method)))

    def watch_node(self, node: Node) -> None:
        """All parts of a node."""
        self.watch(node.windows, "push", "windows and health")
        self.watch(node.windows, "advance", "windows and health")
        for name in node.spec.names:
            self.watch(node.clocks[name], "place", "clock")
            self.watch(node.rings[name], "push", "ring")
        self.watch(node.tracker, "step", "tracker")


class Bench:
    """Nodes whose sensors deliver noise, in stream time that goes as fast as it is answered."""

    def __init__(self, classifier: Classifier, nodes: int, hop_s: float, meter: Meter | None = None) -> None:
        spec = classifier.spec
        timing = StreamSettings(hop_s=hop_s)
        limits = limits_of(classifier.bundle.manifest, HealthLimits())
        settings = NodeSettings(timing, limits, TrackSettings(), {}, None)
        self.nodes = [Node(f"node-{i}", spec, classifier.labels, settings) for i in range(nodes)]
        self.queues: list[deque[tuple[str, Chunk]]] = [deque() for _ in self.nodes]
        self.predict = predict if meter is None else meter.timed("graph", predict)
        self.classifier, self.hop_s, self.now_s = classifier, hop_s, 0.0
        self._noise = _noise(spec)
        if meter is not None:
            for node in self.nodes:
                meter.watch_node(node)

    def hop(self, batch: int) -> int:
        """One hop of stream time of all nodes; the windows answered."""
        answered = 0
        for _ in range(round(self.hop_s / CHUNK_S)):
            self.now_s += CHUNK_S
            for queue in self.queues:
                queue.extend((name, chunk._replace(arrived_s=self.now_s)) for name, chunk in self._deliver())
            for node, queue in zip(self.nodes, self.queues, strict=True):
                while queue:
                    node.receive(*queue.popleft())
                node.advance(self.now_s)
            answered += self._answer(batch)
        return answered

    def _deliver(self) -> list[tuple[str, Chunk]]:
        """What every sensor sends in CHUNK_S."""
        start_s, turn = self.now_s - CHUNK_S, round(self.now_s / CHUNK_S)
        return [(n, Chunk(parts[turn % len(parts)], start_s, rate, 0.0)) for n, (rate, parts) in self._noise.items()]

    def _answer(self, batch: int) -> int:
        due = [(node, window) for node in self.nodes for window in node.take_due()]
        for at in range(0, len(due), batch):
            some = due[at : at + batch]
            for (node, _), prediction in zip(some, self.predict(self.classifier, [w for _, w in some]), strict=True):
                node.finish(prediction, 0.0)
        return len(due)


def _noise(spec: WindowSpec) -> dict[str, tuple[float, list[np.ndarray]]]:
    """Modality -> its rate, and a second and more of noise in chunks."""
    rng = np.random.default_rng(0)
    sizes = {m.name: (m.channels, round(CHUNK_S * m.rate_hz)) for m in spec.streams}
    return {
        m.name: (m.rate_hz, [rng.standard_normal(sizes[m.name]).astype(np.float32) for _ in range(17)])
        for m in spec.streams
    }


def measure(classifier: Classifier, nodes: int, batches: Sequence[int], rounds: int, hop_s: float) -> list[Row]:
    """A row for each batch. Rounds of all batches take turns, so that what slows the machine slows all of them.

    The parts are told by nodes of their own, since the meter takes time.
    """
    meter = Meter()
    bench, metered = Bench(classifier, nodes, hop_s), Bench(classifier, nodes, hop_s, meter)
    for _ in range(WARM_UP_HOPS):
        bench.hop(batches[-1])
        metered.hop(batches[-1])
    took = {batch: np.empty(rounds) for batch in batches}
    parts = {batch: dict.fromkeys(PARTS, 0.0) for batch in batches}
    for number in range(rounds):
        for batch in batches:
            began_s = time.thread_time()
            answered = bench.hop(batch)
            took[batch][number] = (time.thread_time() - began_s) / nodes
            assert answered == nodes, f"{answered} windows of {nodes} nodes in a hop"
            meter.spent_s = dict.fromkeys(PARTS, 0.0)
            metered.hop(batch)
            for part, spent_s in meter.spent_s.items():
                parts[batch][part] += 1e3 * spent_s / nodes / rounds
    return [_row(classifier.precision, batch, took[batch], parts[batch], hop_s) for batch in batches]


def _row(precision: str, batch: int, took_s: np.ndarray, parts_ms: dict[str, float], hop_s: float) -> Row:
    rest = max(0.0, 1e3 * float(took_s.mean()) - sum(parts_ms.values()))
    return Row(
        precision=precision,
        batch=batch,
        cpu_ms=_spread(1e3 * took_s),
        parts_ms={**parts_ms, PARTS[-1]: rest},
        nodes=_spread(hop_s / took_s),
    )


def _spread(values: np.ndarray) -> Spread:
    low, middle, high = (float(p) for p in np.percentile(values, (5, 50, 95)))
    return Spread(middle, low, high)


def print_rows(rows: Sequence[Row]) -> None:
    """The table."""
    table = Table(title="CPU time of a node's hop, ms, on one core", title_justify="left")
    for column in ("precision", "batch", "all", *PARTS, "nodes a core", "90 % of rounds"):
        table.add_column(column)
    for row in rows:
        parts = (f"{row.parts_ms[part]:.2f}" for part in PARTS)
        spread = f"{row.nodes.p5:.0f} to {row.nodes.p95:.0f}"
        table.add_row(
            row.precision, str(row.batch), f"{row.cpu_ms.median:.2f}", *parts, f"{row.nodes.median:.0f}", spread
        )
    Console(width=160).print(table)


def print_profile(classifier: Classifier, nodes: int, batch: int, hop_s: float) -> None:
    """The functions that take most of the time themselves."""
    bench = Bench(classifier, nodes, hop_s)
    bench.hop(batch)
    profile = cProfile.Profile()
    profile.runcall(lambda: [bench.hop(batch) for _ in range(WARM_UP_HOPS)])
    pstats.Stats(profile, stream=sys.stderr).strip_dirs().sort_stats("tottime").print_stats(15)


def main() -> None:
    options = _options()
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        path = options.bundle or _random_bundle(Path(folder))
        os.sched_setaffinity(0, {core})
        rows: list[Row] = []
        for precision in ("fp32", "int8"):
            try:
                classifier = Classifier.load(path, backend="onnxruntime-cpu", precision=precision, prepack=True)
            except ValueError as error:
                _tell(f"{precision}: {error}")
                continue
            rows += measure(classifier, options.nodes, options.batches, options.rounds, options.hop_s)
            best = max(rows[-len(options.batches) :], key=lambda row: row.nodes.median)
            if best.nodes.median < FEW_NODES:
                _tell(f"{precision}: below {FEW_NODES} nodes on a core; where the time goes:")
                print_profile(classifier, options.nodes, best.batch, options.hop_s)
            classifier.close()
    print_rows(rows)
    record = {"machine": describe_machine(), "nodes": options.nodes, "hop_s": options.hop_s, "rows": rows}
    write_file(options.out, msgspec.json.format(msgspec.json.encode(record), indent=1))
    _tell(f"wrote {options.out}")


def _random_bundle(folder: Path) -> Path:
    """The full size with random weights, fp32 and int8."""
    from gpu import NoiseSource
    from speed import random_model

    from rep_edge.calibration.adversarial import adversarial_windows
    from rep_edge.calibration.calibrating import CalibrationSettings, Sides, calibrate
    from rep_edge.config import read_config
    from rep_edge.export.exporting import Source, export_bundle

    model = random_model(read_config(Path("configs/full.yaml")), "learned")
    source = Source(adversarial_windows(model.spec, 0)["noise"], "none: random weights")
    export_bundle(model, folder / "bundle", source, _tell)
    bundle = open_bundle(folder / "bundle")
    noise = NoiseSource(bundle, CALIBRATION_WINDOWS)
    settings = CalibrationSettings(precisions=("int8",), methods=("minmax",), budget=1.0, windows=CALIBRATION_WINDOWS)
    versions = package_versions("onnx", "onnxruntime", "numpy")
    return calibrate(bundle, Sides(noise, noise, noise, "noise"), settings, versions, _tell).bundle.path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="Folder that rep-edge export wrote; calibrated for int8.")
    parser.add_argument("--nodes", type=int, default=32, help="That are in memory and take turns.")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=10, help="Hops measured for each batch.")
    parser.add_argument("--hop-s", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/nodes.json"))
    return parser.parse_args()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
