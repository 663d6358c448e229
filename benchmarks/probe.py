"""What a tower knows and where: logistic regression on the layers of the backbones that accuracy.py trained.

    python benchmarks/probe.py [--seeds 0,1,2] [--work build/accuracy] [--out benchmarks/results]

For each sensor alone: on the feature the tower ends in, on what each block's tokens have as mean and spread, on all of
these together, and on the levels that REP's cache takes. Where an early layer knows more than the feature, an adapter
that hands it past the deeper blocks has something to win.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from accuracy import CONFIG, PLAIN, Task, data
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rep_edge.checkpoint import load_pretrained
from rep_edge.config import Config, read_config
from rep_edge.data.batches import WindowBatches
from rep_edge.encoders.base import Encoder
from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file

FEATURE, EVERY, CACHE = "feature", "all blocks and the feature", "feature and the cache's levels"
STRENGTHS = (1e-3, 1e-2)

Layers = dict[str, NDArray[np.float32]]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy, 0 to 1, of logistic regression on one layer of one sensor's tower, on test windows."""

    sensor: str
    layer: str
    seed: int
    accuracy: float


def layers(encoder: Encoder, windows: WindowBatches, name: str, cache: Sequence[int]) -> Layers:
    """Layer -> [n, *], of all windows."""
    taken: dict[str, list[torch.Tensor]] = {}
    with torch.inference_mode():
        for values, _ in windows.in_order(128):
            tokens = encoder.embed(values[name]).tokens
            blocks, levels = [], []
            for k in range(encoder.steps):
                tokens = encoder.step(k, encoder.advance(k, tokens, 0), 0)
                blocks.append(torch.cat([tokens.mean(dim=1), tokens.std(dim=1)], dim=1))
                taken.setdefault(f"block {k}", []).append(blocks[-1])
                if k in cache:
                    levels.append(encoder.level(k, tokens))
            feature = encoder.pool(tokens)
            taken.setdefault(FEATURE, []).append(feature)
            taken.setdefault(EVERY, []).append(torch.cat([*blocks, feature], dim=1))
            taken.setdefault(CACHE, []).append(torch.cat([*levels, feature], dim=1))
    return {layer: torch.cat(parts).numpy() for layer, parts in taken.items()}


def probes(config: Config, seed: int, work: Path) -> list[Probe]:
    """All layers of all towers of one backbone; the strength of the regression is chosen on validation windows."""
    model = load_pretrained(Task(seed, PLAIN).folder(work))
    sides = [WindowBatches(side) for side in data(config)]
    y, y_validation, y_test = (side.targets.numpy() for side in sides)
    found = []
    for name in config.signals.names:
        train, validation, test = (layers(model.encoder(name), side, name, config.adapter.cache) for side in sides)
        for layer in train:
            fitted = [
                make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(train[layer], y)
                for c in STRENGTHS
            ]
            best = max(fitted, key=lambda f: f.score(validation[layer], y_validation))
            found.append(Probe(sensor=name, layer=layer, seed=seed, accuracy=best.score(test[layer], y_test)))
    return found


def print_probes(found: Sequence[Probe], console: Console) -> None:
    sensors = list(dict.fromkeys(probe.sensor for probe in found))
    table = Table(title="What one sensor's tower knows: accuracy in %, mean over seeds", title_justify="left")
    for column in ("logistic regression on", *sensors):
        table.add_column(column, justify="left" if column not in sensors else "right")
    for layer in dict.fromkeys(probe.layer for probe in found):
        means = [np.mean([p.accuracy for p in found if (p.layer, p.sensor) == (layer, sensor)]) for sensor in sensors]
        table.add_row(layer, *(f"{100 * mean:.1f}" for mean in means))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--work", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(options.config)
    found = [probe for seed in options.seeds.split(",") for probe in probes(config, int(seed), options.work)]
    print_probes(found, Console(width=120))
    record = {"machine": describe_machine(), "probes": found}
    write_file(options.out / "probe.json", msgspec.json.format(msgspec.json.encode(record), indent=1))


if __name__ == "__main__":
    main()
