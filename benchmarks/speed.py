"""The speed of the full-size SW-T with either memory: latency, ratios and memory of its bundle on this machine.

Nothing is trained: a graph takes equally long whatever its weights are, as long as none of them can be folded away.
Writes one JSON file with both memories and the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

# Before any library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import torch
from torch import nn

from rep_edge.calibration.adversarial import adversarial_windows
from rep_edge.checkpoint import save_pretrained
from rep_edge.config import Config, read_config
from rep_edge.export.bench import BenchResult, run_bench
from rep_edge.export.bench_report import print_bench
from rep_edge.export.exporting import Source, export_bundle
from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file
from rep_edge.model import RepModel, build_model

CONFIG = Path("configs/full.yaml")
LABELS = ("Polaris", "Warhog", "Truck", "motor", "tesla", "mustang", "walk")
MEMORIES = ("learned", "fed")


def main() -> None:
    options = _options()
    config = read_config(options.config)
    results: dict[str, BenchResult] = {}
    for memory in options.memories:
        _tell(f"== memory {memory}: {options.config}, random weights")
        with tempfile.TemporaryDirectory() as folder:
            results[memory] = measure(config, memory, Path(folder))
        print_bench(results[memory])
    record = {"machine": describe_machine(), "config": config, "memories": results}
    write_file(options.out, msgspec.json.format(msgspec.json.encode(record), indent=1))
    _tell(f"wrote {options.out}")


def measure(config: Config, memory: str, folder: Path) -> BenchResult:
    """Build, export and bench one model."""
    model = random_model(config, memory)
    checkpoint, bundle = folder / "checkpoint", folder / "bundle"
    save_pretrained(model, checkpoint, training={}, dataset="none")
    noise = adversarial_windows(model.spec, config.seed)["noise"]
    export_bundle(model, bundle, Source(noise, "none: random weights"), _tell)
    return run_bench(bundle, checkpoint, _tell)


def random_model(config: Config, memory: str) -> RepModel:
    """A model of `config` with that memory, every parameter random, so that no part of it is trivial."""
    torch.manual_seed(config.seed)
    model = build_model(config, LABELS)
    model.attach_adapter(
        msgspec.convert({**msgspec.to_builtins(config.adapter), "memory": memory}, type(config.adapter))
    )
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.5 * parameter.shape[-1] ** -0.5)
            else:
                nn.init.normal_(parameter, mean=float("norm" in name and name.endswith("weight")), std=0.1)
    return model.eval()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--memories", nargs="+", choices=MEMORIES, default=MEMORIES)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/speed.json"))
    return parser.parse_args()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
