"""REP with CLIP's and MulT's towers on six generated sets: each set's own score over missing rates, several seeds.

    python benchmarks/modalities.py [--sets mmimdb,mosi] [--seeds 0,1,2] [--jobs 2] [--work build/modalities]

The sets have the layouts of MM-IMDb, UPMC Food-101, the Hateful Memes, CH-SIMS, CMU-MOSI and CMU-MOSEI, but what they
hold is drawn (`modalities_data.py` says how), and small towers are trained on it from random weights: REP's gain here
shows that it works, not what it is on the real sets. Beside REP stand the plain backbone and its head retrained with
modalities dropped. Run it in the folder that holds configs/. What was trained stays in the work folder, so that a run
that was cut off goes on.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from modalities_data import SETS, configured, generate, opened
from modalities_report import cells, draw, encoded, print_set
from rich.console import Console

from rep_edge.checkpoint import load_pretrained
from rep_edge.config import AdapterConfig, ClipConfig, Config, TrainConfig
from rep_edge.data.batches import WindowBatches
from rep_edge.evaluation import Row, evaluate
from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file
from rep_edge.model import RepModel
from rep_edge.training import adapt, train_backbone

PLAIN, HEAD, LEARNED, FED = "plain backbone", "head retrained", "REP learned", "REP fed"
COMPLETE = "REP fed, complete training"
METHODS = {name: [PLAIN, HEAD, LEARNED, FED] for name in SETS}
METHODS["food101"].append(COMPLETE)  # The paper's appendix 6.1 and figure 7: nothing is missing in stage 2.
LINEAR_HEAD_RATE = 0.03
"""Peak rate of CLIP's linear head where it is retrained alone, by validation: at REP's rate it stays behind."""


class Task(NamedTuple):
    """One model to train: the backbone, or a method on it."""

    set: str
    seed: int
    method: str

    def folder(self, work: Path) -> Path:
        return work / self.set / f"seed-{self.seed}" / self.method.replace(",", "").replace(" ", "-")


def experiment(config: Config, task: Task) -> Config:
    """The configuration of one task; all but what makes the method, and a linear head's rate, is shared."""
    change = msgspec.structs.replace
    config = change(config, seed=task.seed)
    fed = change(config, adapter=change(config.adapter, memory="fed"))
    linear = isinstance(config.encoder, ClipConfig)
    return {
        # What stage 1 makes does not depend on stage 2.
        PLAIN: change(config, adapter=AdapterConfig(), adapt=TrainConfig()),
        HEAD: change(
            config,
            adapter=change(config.adapter, memory="none"),
            adapt=change(config.adapt, learning_rate=LINEAR_HEAD_RATE) if linear else config.adapt,
        ),
        LEARNED: change(config, adapter=change(config.adapter, memory="learned")),
        FED: fed,
        COMPLETE: change(fed, adapt=change(config.adapt, missing_rate=0.0)),
    }[task.method]


def train(config: Config, task: Task, work: Path) -> RepModel:
    """The task's model, trained or read back."""
    own, splits = experiment(config, task), opened(config)
    if task.method == PLAIN:
        return train_backbone(own, splits, task.folder(work))
    backbone = load_pretrained(task._replace(method=PLAIN).folder(work))
    return adapt(backbone, own, splits, task.folder(work))


def train_and_evaluate(config: Config, task: Task, work: Path) -> tuple[list[Row], float]:
    """Train, then score on the test examples; and the seconds that took."""
    torch.set_num_threads(1)
    start = time.monotonic()
    model = train(config, task, work)
    rows = evaluate(task.method, task.seed, model, WindowBatches(opened(config).test))
    return rows, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=2, help="models trained side by side, one core each")
    parser.add_argument("--work", type=Path, default=Path("build/modalities"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    console, start = Console(width=170), time.monotonic()
    names, seeds = options.sets.split(","), [int(seed) for seed in options.seeds.split(",")]
    configs = {name: configured(name, options.work) for name in names}
    for name, config in configs.items():
        generate(name, config, options.work)
    first = [Task(name, seed, PLAIN) for name in names for seed in seeds]
    second = [Task(name, seed, method) for name in names for method in METHODS[name][1:] for seed in seeds]
    done: dict[Task, list[Row]] = {}
    seconds: dict[str, float] = dict.fromkeys(names, 0.0)
    with ProcessPoolExecutor(options.jobs) as pool:
        for stage in (first, second):
            running = {pool.submit(train_and_evaluate, configs[task.set], task, options.work): task for task in stage}
            for future in as_completed(running):
                task = running[future]
                done[task], taken = future.result()
                seconds[task.set] += taken
                count = f"{len(done)}/{len(first) + len(second)}"
                console.print(f"{count}: {task.set}, {task.method}, seed {task.seed}, {taken:.0f} s", highlight=False)
    rows_of = {
        name: [row for method in METHODS[name] for seed in seeds for row in done[Task(name, seed, method)]]
        for name in names
    }
    cells_of = {name: cells(name, rows) for name, rows in rows_of.items()}
    for name, found in cells_of.items():
        print_set(name, found, PLAIN, console)
    minutes = (time.monotonic() - start) / 60
    console.print(f"± is the standard deviation over seeds {seeds}; {minutes:.0f} minutes.", highlight=False)
    head = {"machine": describe_machine(), "minutes": minutes, "seconds": seconds, "seeds": seeds, "configs": configs}
    record = encoded(head, [cell for found in cells_of.values() for cell in found])
    write_file(options.out / "modalities.json", record)
    draw(rows_of, options.out / "modalities.png")


if __name__ == "__main__":
    main()
