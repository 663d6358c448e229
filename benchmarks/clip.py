"""CLIP with REP beside open_clip's own towers: latency, weights on disk, and what an export takes.

Full size, random weights: a graph takes equally long whatever its weights are. open_clip's towers are exported alone by
the same exporter and folded in the same way; all graphs run interleaved in one process, one thread, batch 1. Every
export runs in a process of its own, so that its peak memory can be told.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before any library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from rep_edge.calibration.noise import noise
from rep_edge.config import ClipConfig, Config, read_config, with_random_init
from rep_edge.export.exporting import Source, export_bundle, graph_path, write_graphs
from rep_edge.export.folding import fold
from rep_edge.export.machine import describe_machine
from rep_edge.export.onnx import traced
from rep_edge.files import write_file
from rep_edge.model import RepModel, starting_model
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.timing import Percentiles, Ratio, interleave, percentiles, ratio
from rep_edge.runtime.trimming import trim
from rep_edge.signals import Example, Image, Modality, Text, WindowSpec

CONFIG = Path("configs/clip-food101.yaml")
LABELS = tuple(f"class {number}" for number in range(101))
MEMORIES = ("learned", "fed")
TOWERS = "open_clip"
TEXTS = (77, 20)
"""Tokens of the texts: one that fills the model, and a caption."""


class Exported(msgspec.Struct, frozen=True):
    """What one export took and left. trained: parameters of the adapter and the head; parity: largest difference."""

    seconds: float
    peak_mb: float
    weights_mb: float
    graphs_mb: float
    trained: int
    parity: float


class Variant(msgspec.Struct, frozen=True):
    """One graph. to_towers: how many times as long as open_clip's towers of the same modalities."""

    ms: Percentiles
    to_towers: Ratio


class Towers(nn.Module):
    """open_clip's own towers of the modalities that are live, each to its feature."""

    def __init__(self, clip: Any, spec: WindowSpec, names: tuple[str, ...]) -> None:
        super().__init__()
        self.clip, self.modalities = clip, [spec[name] for name in names]

    def forward(self, *windows: Tensor) -> Tensor:
        features = []
        for modality, window in zip(self.modalities, windows, strict=True):
            encode = self.clip.encode_image if isinstance(modality, Image) else self.clip.encode_text
            features.append(encode(window))
        return torch.cat(features, dim=-1)


def random_model(config: Config, memory: str) -> RepModel:
    """The configuration's model with that memory."""
    torch.manual_seed(config.seed)
    model = starting_model(with_random_init(config), LABELS)
    model.attach_adapter(msgspec.structs.replace(config.adapter, memory=memory))
    return model.eval()


def export(config: Config, memory: str, folder: Path) -> Exported:
    """Write the bundle and tell what that took."""
    model = random_model(config, memory)
    windows = _windows(model.spec, 8)
    began = time.perf_counter()
    manifest = export_bundle(model, folder, Source(windows, "none: random weights"), _tell)
    return Exported(
        seconds=time.perf_counter() - began,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        weights_mb=sum(record.size for record in manifest.weights.values()) / 1e6,
        graphs_mb=sum(graph.file.size for graph in manifest.graphs) / 1e6,
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        parity=max(graph.parity.max_abs_error for graph in manifest.graphs),
    )


def export_apart(options: argparse.Namespace, memory: str, folder: Path) -> Exported:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--config", str(options.config), "--export", memory, "--folder", str(folder)]
    return msgspec.json.decode(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, type=Exported)


def write_towers(config: Config, folder: Path) -> None:
    """Graphs of open_clip's own towers, alone and together, named as patterns."""
    import open_clip

    assert isinstance(config.encoder, ClipConfig)
    clip, spec = open_clip.create_model(config.encoder.model).eval().requires_grad_(False), config.signals

    def graphs() -> Iterator[tuple[str, onnx.ModelProto]]:
        for name in map(spec.pattern_name, spec.patterns()):
            _tell(f"open_clip's {name}: tracing and folding")
            names = tuple(name.split("+"))
            yield name, fold(traced(Towers(clip, spec, names), [spec[n] for n in names]))

    write_graphs(graphs(), folder)


def measure(folders: dict[str, Path], spec: WindowSpec, rounds: int) -> dict[str, Variant]:
    """All graphs, interleaved, with a text that fills the model and with a caption; by "<who>, <pattern>, <text>"."""
    windows = _windows(spec, 1)
    calls, towers = {}, {}
    for pattern in map(spec.pattern_name, spec.patterns()):
        live = {name: windows[name] for name in pattern.split("+")}
        towers[pattern] = f"{TOWERS}, {pattern}, always {_text(spec).tokens} tokens"
        calls[towers[pattern]] = _call(folders[TOWERS], pattern, live)
        for memory in MEMORIES:
            names = open_bundle(folders[memory]).manifest.trimmed
            for tokens in TEXTS if _text(spec).name in live else ("",):
                given = {name: of_length(spec[name], v, tokens) for name, v in live.items()}
                calls[f"{memory}, {pattern}{tokens and f', {tokens} tokens'}"] = _call(
                    folders[memory], pattern, trim(given, spec, names)
                )
    times = interleave(calls, rounds, repeats=3)
    return {
        name: Variant(percentiles(taken), ratio(taken, times[towers[name.split(", ")[1]]]))
        for name, taken in times.items()
    }


def of_length(modality: Modality, window: Example, tokens: int | str) -> Example:
    """A text that ends after so many tokens; other windows as they are."""
    if not isinstance(modality, Text) or not isinstance(tokens, int):
        return window
    ids = np.where(window == modality.end, 1, window)
    ids[:, tokens:] = modality.pad
    ids[:, tokens - 1] = modality.end
    return ids


def _text(spec: WindowSpec) -> Text:
    return next(m for m in spec.modalities if isinstance(m, Text))


def _call(folder: Path, pattern: str, live: dict[str, Example]) -> Callable[[], object]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(folder / graph_path(pattern), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, live)


def _windows(spec: WindowSpec, count: int) -> dict[str, Example]:
    rng = np.random.default_rng(0)
    return {m.name: noise(m, count, rng) for m in spec.modalities}


def print_figures(variants: dict[str, Variant], exported: dict[str, Exported], towers_mb: float) -> None:
    """Two tables."""
    console = Console(width=110)
    table = Table(title="Latency, batch 1, one thread", title_justify="left")
    for column in ("graph", "median ms", "p95 ms", "to open_clip's towers", "5 to 95 %"):
        table.add_column(column, justify="left" if column == "graph" else "right")
    for name, v in variants.items():
        spread = f"{v.to_towers.p5:.2f} to {v.to_towers.p95:.2f}"
        table.add_row(name, f"{v.ms.p50:.0f}", f"{v.ms.p95:.0f}", f"{v.to_towers.median:.2f}", spread)
    console.print(table)
    table = Table(title="Exports, three graphs each", title_justify="left")
    for column in ("memory", "weights MB", "graphs MB", "minutes", "peak GB", "largest difference", "trained"):
        table.add_column(column, justify="left" if column == "memory" else "right")
    for memory, e in exported.items():
        figures = (f"{e.weights_mb:.0f}", f"{e.graphs_mb:.1f}", f"{e.seconds / 60:.1f}", f"{e.peak_mb / 1e3:.1f}")
        table.add_row(memory, *figures, f"{e.parity:.1e}", f"{e.trained:,}")
    console.print(table)
    console.print(f"open_clip's own towers: {towers_mb:.0f} MB of weights in one file for three graphs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/clip.json"))
    parser.add_argument("--export", choices=MEMORIES, help="write this memory's bundle to --folder and end")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    config = read_config(options.config)
    if options.export:
        print(msgspec.json.encode(export(config, options.export, options.folder)).decode())
        return
    assert {type(m) for m in config.signals.modalities} == {Image, Text}
    with tempfile.TemporaryDirectory() as work:
        folders = {TOWERS: Path(work) / TOWERS, **{memory: Path(work) / memory for memory in MEMORIES}}
        exported = {memory: export_apart(options, memory, folders[memory]) for memory in MEMORIES}
        for memory in MEMORIES:
            open_bundle(folders[memory])
        write_towers(config, folders[TOWERS])
        towers_mb = sum(f.stat().st_size for f in folders[TOWERS].rglob("*.bin")) / 1e6
        variants = measure(folders, config.signals, options.rounds)
    print_figures(variants, exported, towers_mb)
    record = {"machine": describe_machine(), "config": config, "variants": variants, "exports": exported}
    write_file(options.out, msgspec.json.format(msgspec.json.encode({**record, "towers_mb": towers_mb}), indent=1))
    _tell(f"wrote {options.out}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
