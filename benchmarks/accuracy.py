"""REP beside its rivals on simulated vehicles: accuracy over missing rates, several seeds, one backbone a seed for all.

    python benchmarks/accuracy.py [--seeds 0,1,2] [--jobs 2] [--work build/accuracy] [--out benchmarks/results]

Rivals: the plain backbone; its head retrained with sensors dropped; learned prompts per pattern (MAP); fine-tuning
with sensors dropped of as many tower parameters as REP trains, and of everything. A part of REP: its cache without
slots. The ceiling: a specialist for each single sensor, the same tower trained for it alone. The floor: logistic
regression on log spectra. What was trained stays in the work folder, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from rep_edge.checkpoint import load_pretrained
from rep_edge.config import AdapterConfig, Config, TrainConfig, read_config
from rep_edge.data.batches import WindowBatches
from rep_edge.data.splits import Splits, open_splits
from rep_edge.evaluation import Row, evaluate
from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file
from rep_edge.frontend import SegmentSpectrum
from rep_edge.model import RepModel, build_model
from rep_edge.plots import draw_curves
from rep_edge.report import mean_score, print_report, unique
from rep_edge.training import adapt, train_backbone

CONFIG = Path(__file__).parents[1] / "configs" / "small.yaml"
PLAIN, HEAD, PROMPTS, MATCHED, EVERYTHING = (
    "plain backbone",
    "head retrained",
    "prompts (MAP)",
    "matched fine-tuned",
    "everything fine-tuned",
)
LEARNED, FED, CACHE = "REP learned", "REP fed", "REP's cache alone"
ADAPTED = (EVERYTHING, FED, LEARNED, PROMPTS, MATCHED, HEAD, CACHE)
SPECIALIST = "specialist "


class Task(NamedTuple):
    """One model to train: the backbone, a method on it, or a specialist for one modality."""

    seed: int
    method: str

    def folder(self, work: Path) -> Path:
        return work / f"seed-{self.seed}" / self.method.translate(str.maketrans(" ", "-", "()'"))


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is to win with one sensor: accuracies in 0 to 1, means over seeds.

    linear: logistic regression; plain: the backbone fed a placeholder; head: its head retrained; specialist: the
    ceiling.
    """

    sensors: str
    linear: float
    plain: float
    head: float
    specialist: float


_OPENED: dict[tuple[str, ...], Splits] = {}


def data(config: Config) -> Splits:
    """The windows, made once a process for each choice of sensors; they do not depend on the seed of training."""
    names = config.signals.names
    if names not in _OPENED:
        _OPENED[names] = open_splits(config)
    return _OPENED[names]


def experiment(config: Config, task: Task) -> Config:
    """The configuration of one task; all but what makes the method is shared."""
    change = msgspec.structs.replace
    config = change(config, seed=task.seed)
    bare = change(config.adapter, cache=())
    head = change(config, adapter=change(bare, memory="none"))
    # What stage 1 makes does not depend on stage 2: tuning the adapter leaves the backbones as they are.
    stage_1 = change(config, adapter=AdapterConfig(), adapt=TrainConfig())
    if task.method.startswith(SPECIALIST):
        modality = config.signals[task.method.removeprefix(SPECIALIST)]
        return change(stage_1, signals=change(config.signals, modalities=(modality,)))
    if task.method == MATCHED:
        matched = change(config.adapt, trainable="matched", matched_parameters=rep_parameters(config))
        return change(head, adapt=matched)
    return {
        PLAIN: stage_1,
        HEAD: head,
        PROMPTS: change(config, adapter=change(bare, memory="prompts")),
        EVERYTHING: change(head, adapt=change(config.adapt, trainable="everything")),
        LEARNED: change(config, adapter=change(config.adapter, memory="learned")),
        FED: change(config, adapter=change(config.adapter, memory="fed")),
        CACHE: change(config, adapter=change(config.adapter, memory="none")),
    }[task.method]


def rep_parameters(config: Config) -> int:
    """Parameters of REP's memory, without the head."""
    model = build_model(config, ("a", "b"))
    model.attach_adapter(config.adapter)
    return sum(p.numel() for p in model.memory.parameters())


def train(config: Config, task: Task, work: Path) -> RepModel:
    """The task's model, trained or read back."""
    torch.set_num_threads(1)
    own = experiment(config, task)
    splits = data(own)
    folder = task.folder(work)
    if task.method in ADAPTED:
        backbone = load_pretrained(Task(task.seed, PLAIN).folder(work))
        return adapt(backbone, own, splits, folder)
    return train_backbone(own, splits, folder)


def train_and_evaluate(config: Config, task: Task, work: Path) -> list[Row]:
    """Train, then score on the test windows; a specialist has the one row of its pattern."""
    model = train(config, task, work)
    return evaluate(task.method, task.seed, model, WindowBatches(data(model.config).test))


def linear_accuracy(config: Config, names: Sequence[str]) -> float:
    """Logistic regression on mean and spread of the log spectra of `names`, its strength chosen by validation."""
    sides = [_spectral_features(side, names) for side in (WindowBatches(s) for s in data(config))]
    mean, spread = sides[0][0].mean(axis=0), sides[0][0].std(axis=0) + 1e-6
    (x, y), (x_val, y_val), (x_test, y_test) = (((x - mean) / spread, y) for x, y in sides)
    fitted = [LogisticRegression(C=c, max_iter=300).fit(x, y) for c in (1e-3, 1e-2, 1e-1)]
    return float(max(fitted, key=lambda f: f.score(x_val, y_val)).score(x_test, y_test))


def _spectral_features(windows: WindowBatches, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    spectra = {
        m.name: SegmentSpectrum(m.samples, m.channels, 10, "log_magnitude") for m in windows.dataset.spec.streams
    }
    rows, targets = [], []
    for values, labels in windows.in_order(256):
        parts = [spectra[name](values[name]) for name in names]
        rows.append(torch.cat([f(p, dim=2).flatten(1) for p in parts for f in (torch.mean, torch.std)], dim=1))
        targets.append(labels)
    return torch.cat(rows).numpy(), torch.cat(targets).numpy()


def rooms(config: Config, rows: Sequence[Row]) -> list[Room]:
    """What each sensor knows, alone and together."""
    spec = config.signals
    found = []
    for pattern in spec.patterns():
        name = spec.pattern_name(pattern)
        ceiling = PLAIN if pattern == spec.complete else SPECIALIST + name
        plain, head, specialist = (mean_score(rows, m, name, None).mean for m in (PLAIN, HEAD, ceiling))
        linear = linear_accuracy(config, [n for n in spec.names if n in pattern])
        found.append(Room(sensors=name, linear=linear, plain=plain, head=head, specialist=specialist))
    return found


def print_rooms(found: Iterable[Room], console: Console) -> None:
    table = Table(title="Room on this source: accuracy in % on test windows", title_justify="left")
    for column in ("sensors", "linear on log spectra", "plain backbone", "head retrained", "specialist", "room"):
        table.add_column(column, justify="left" if column == "sensors" else "right")
    for room in found:
        values = (room.linear, room.plain, room.head, room.specialist, room.specialist - room.head)
        table.add_row(room.sensors, *(f"{100 * value:.1f}" for value in values))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", default=",".join(ADAPTED))
    parser.add_argument("--jobs", type=int, default=2, help="models trained side by side, one core each")
    parser.add_argument("--work", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    config, console = read_config(options.config), Console(width=140)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    specialists = [SPECIALIST + name for name in config.signals.names]
    first = [Task(seed, method) for seed in seeds for method in (PLAIN, *specialists)]
    second = [Task(seed, method) for method in options.methods.split(",") for seed in seeds]
    done: dict[Task, list[Row]] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for stage in (first, second):
            running = {pool.submit(train_and_evaluate, config, task, options.work): task for task in stage}
            for future in as_completed(running):
                done[running[future]] = future.result()
                console.print(
                    f"{len(done)}/{len(first) + len(second)}: {running[future].method}, seed {running[future].seed}"
                )
    methods = unique(task.method for task in (*first, *second))
    rows = [row for method in methods for task in done if task.method == method for row in done[task]]
    swept = [row for row in rows if not row.method.startswith(SPECIALIST)]
    print_report(swept, console)
    found = rooms(config, rows)
    print_rooms(found, console)
    record = {"machine": describe_machine(), "config": config, "room": found, "rows": rows}
    write_file(options.out / "accuracy.json", msgspec.json.format(msgspec.json.encode(record), indent=1))
    draw_curves(swept, options.out / "accuracy.png")


if __name__ == "__main__":
    main()
