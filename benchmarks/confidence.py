"""Confidence beside accuracy: what one temperature for each pattern mends, and what label sets hold.

    python benchmarks/confidence.py [--seeds 0,1,2] [--work build/accuracy] [--out benchmarks/results]

Reads the models that benchmarks/accuracy.py left in the work folder. A temperature is fitted on the validation windows
of the split, and once more on many windows of fresh runs, and left at 1 where they cannot tell that it is better, as
`rep-edge calibrate` does; calibration error, accuracy, confidence and label sets are
found on its test windows and on many windows of other fresh runs. Beside each error stand two bounds that no
temperature passes: the floor, which is chance alone, and the lowest error that any temperature reaches when it is
chosen on the test windows themselves. Writes confidence.json and, for the first seed, confidence.png.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

# Before any library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from rep_edge.calibration.confidence import (
    Answers,
    ChosenTemperature,
    choose_temperature,
    confidence_record,
    ece_floor,
    expected_calibration_error,
)
from rep_edge.calibration.conformal import label_set_record
from rep_edge.calibration.reliability import draw_reliability
from rep_edge.checkpoint import load_pretrained
from rep_edge.config import Config, SimulatedData
from rep_edge.data.batches import WindowBatches
from rep_edge.data.opening import open_dataset
from rep_edge.data.splits import open_splits
from rep_edge.data.windows import WindowDataset
from rep_edge.errors import InputError
from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file
from rep_edge.model import RepModel
from rep_edge.runtime.softmax import softmax

METHODS = ("REP-learned", "plain-backbone")
"""Folders of the work folder; the first is drawn."""
VALIDATION, TEST = "validation windows", "test windows"
MORE_VALIDATION, MORE_TEST = "fresh validation windows", "fresh test windows"
WAYS = ((VALIDATION, TEST), (VALIDATION, MORE_TEST), (MORE_VALIDATION, MORE_TEST))
"""What a temperature is fitted on, and what it is tested on."""
RUNS = {MORE_VALIDATION: 84, MORE_TEST: 167}
"""Fresh runs per class."""
COVERAGE = 0.9
TRIED = np.geomspace(0.3, 10, 176)
"""Temperatures among which the lowest error is sought, 2 % apart."""
SEED = 0
BATCH = 256


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern of one model.

    temperature: chosen; best: the most likely one; low, high: its 95 % interval over recordings. windows: tested;
    ece_before, ece_after, floor, lowest: calibration errors, 0 to 1, as the benchmark's text says; covered, size:
    share of label sets that hold the true class, and their mean number of labels.
    """

    method: str
    seed: int
    pattern: str
    fitted_on: str
    tested_on: str
    windows: int
    temperature: float
    best: float
    low: float
    high: float
    ece_before: float
    ece_after: float
    floor: float
    lowest: float
    accuracy: float
    confidence: float
    covered: float
    size: float


class Task(NamedTuple):
    """One trained model."""

    method: str
    seed: int


AllAnswers = dict[Task, dict[str, Answers]]
"""Task -> pattern -> what the model says about one set of windows."""


def answers(model: RepModel, windows: WindowBatches) -> dict[str, Answers]:
    """Pattern -> logits of every window, and the targets."""
    found = {}
    for pattern in model.spec.patterns():
        with torch.inference_mode():
            logits = [
                model({name: values[name] for name in pattern}, pattern).logits.numpy()
                for values, _ in windows.in_order(BATCH)
            ]
        found[model.spec.pattern_name(pattern)] = Answers(np.concatenate(logits), windows.targets.numpy())
    return found


def window_sets(config: Config) -> Iterable[tuple[str, WindowDataset]]:
    """The windows of each name, made when they are asked for: no two large sets are in memory together."""
    if not isinstance(config.data, SimulatedData):
        raise InputError("work: its models learned from recordings, and fresh runs are simulated; train on simulated")
    splits = open_splits(config)
    yield VALIDATION, splits.validation
    yield TEST, splits.test
    del splits
    for number, (name, runs) in enumerate(RUNS.items(), start=1):
        data = msgspec.structs.replace(config.data, runs_per_class=runs, seed=config.data.seed + number)
        yield name, open_dataset(data, config.signals)


class Said(NamedTuple):
    """Name of the windows -> what each model says about them, and the recording of each."""

    answers: dict[str, AllAnswers]
    recordings: dict[str, Sequence[str]]


def all_answers(models: dict[Task, RepModel], config: Config) -> Said:
    """Every model on all windows."""
    said = Said({}, {})
    for name, dataset in window_sets(config):
        windows = WindowBatches(dataset)
        said.answers[name], said.recordings[name] = {}, dataset.recordings
        for task, model in models.items():
            print(f"{task.method}, seed {task.seed}: {len(windows)} {name}", file=sys.stderr, flush=True)
            said.answers[name][task] = answers(model, windows)
    return said


def choose(said: Said, fitted_on: str, task: Task) -> dict[str, ChosenTemperature]:
    """Pattern -> its temperature, from the windows of one name."""
    fitted, recordings = said.answers[fitted_on][task], said.recordings[fitted_on]
    return {pattern: choose_temperature(*found, recordings, SEED) for pattern, found in fitted.items()}


def lowest_error(found: Answers) -> float:
    """Of all temperatures tried on these very windows."""
    return min(expected_calibration_error(softmax(found.logits, t), found.targets) for t in TRIED)


def rows_of(task: Task, fitted_on: str, tested_on: str, said: Said) -> list[Row]:
    """One row for each pattern."""
    fitted, tested = said.answers[fitted_on][task], said.answers[tested_on][task]
    chosen = choose(said, fitted_on, task)
    temperatures = {pattern: found.temperature for pattern, found in chosen.items()}
    sets = label_set_record(COVERAGE, temperatures, fitted, tested)
    return [
        Row(
            method=task.method,
            seed=task.seed,
            pattern=pattern,
            fitted_on=fitted_on,
            tested_on=tested_on,
            floor=ece_floor(softmax(tested[pattern].logits, found.temperature), SEED),
            lowest=lowest_error(tested[pattern]),
            covered=sets.covered[pattern],
            size=sets.size[pattern],
            **found._asdict(),
            **msgspec.structs.asdict(confidence_record(*tested[pattern], found.temperature)),
        )
        for pattern, found in chosen.items()
    ]


def print_rows(rows: list[Row], console: Console) -> None:
    """One table for each way of fitting and testing."""
    columns = (
        "seed",
        "live sensors",
        "T",
        "most likely",
        "ECE before",
        "after",
        "floor",
        "lowest",
        "accuracy",
        "confidence",
    )
    for method, fitted_on, tested_on in dict.fromkeys((r.method, r.fitted_on, r.tested_on) for r in rows):
        table = Table(title=f"{method}: fitted on {fitted_on}, found on {tested_on}; in %", title_justify="left")
        for column in (*columns, f"sets at {100 * COVERAGE:.0f} %", "labels"):
            table.add_column(column, justify="left" if column == "live sensors" else "right")
        for r in rows:
            if (r.method, r.fitted_on, r.tested_on) == (method, fitted_on, tested_on):
                shares = (r.ece_before, r.ece_after, r.floor, r.lowest, r.accuracy, r.confidence, r.covered)
                cells = [f"{100 * share:.1f}" for share in shares]
                table.add_row(str(r.seed), r.pattern, f"{r.temperature:.2f}", f"{r.best:.2f}", *cells, f"{r.size:.2f}")
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--work", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [Task(method, int(seed)) for method in METHODS for seed in options.seeds.split(",")]
    models = {task: load_pretrained(options.work / f"seed-{task.seed}" / task.method) for task in tasks}
    said = all_answers(models, models[tasks[0]].config)
    rows = [
        row for method in METHODS for way in WAYS for t in tasks if t.method == method for row in rows_of(t, *way, said)
    ]
    print_rows(rows, Console(width=140))
    record = {"machine": describe_machine(), "coverage": COVERAGE, "rows": rows}
    write_file(options.out / "confidence.json", msgspec.json.format(msgspec.json.encode(record), indent=1))
    chosen = {pattern: found.temperature for pattern, found in choose(said, VALIDATION, tasks[0]).items()}
    draw_reliability(said.answers[MORE_TEST][tasks[0]], chosen, options.out / "confidence.png")


if __name__ == "__main__":
    main()
