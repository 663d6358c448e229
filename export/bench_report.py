"""The figures of a bench as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from rep_edge.export.bench import EVERY, BenchResult

MEANING = {
    "graph": "the bundle's own graph, fp32",
    "fp16": "the bundle's own graph, fp16",
    "int8": "the bundle's own graph, int8",
    "placeholder": "the complete graph, fed a placeholder",
    "short text": "the same, a text cut to a quarter",
    "in turn": "all graphs, one after the other",
    "stream": "a stream: buffers, health, graph",
    "backbone": "the backbone without REP, as a graph",
    "tower": "that modality's tower and head alone, as a graph",
    "eager": "PyTorch",
    "compile": "PyTorch, torch.compile",
}


def print_bench(result: BenchResult, console: Console | None = None) -> None:
    """Latency, ratios and memory, and what was left out."""
    console = console or Console()
    machine = result.machine
    console.print(f"{machine['processor']}, one thread, one window at a time", highlight=False)
    console.print(_latency(result))
    console.print(_ratios(result))
    memory = "not told by this system" if result.pss_mb is None else f"{result.pss_mb:.0f} MB"
    added = result.stream_overhead
    stream = "" if added is None else f"; a stream adds {100 * added:.1f} % to its graph"
    console.print(
        f"bundle {result.bundle_mb:.1f} MB; a process with every graph open, above an empty interpreter: {memory}"
        f"{stream}",
        highlight=False,
    )
    for what, why in result.skipped.items():
        console.print(f"not measured: {what} ({why})", highlight=False, markup=False)


def _latency(result: BenchResult) -> Table:
    table = Table(title="latency of a window, ms", title_justify="left")
    table.add_column("what")
    table.add_column("live")
    for name in ("p50", "p95", "p99"):
        table.add_column(name, justify="right")
    for kind, patterns in result.latency_ms.items():
        for pattern, p in patterns.items():
            live = "" if pattern == EVERY else pattern
            table.add_row(MEANING.get(kind, kind), live, f"{p.p50:.2f}", f"{p.p95:.2f}", f"{p.p99:.2f}")
    return table


def _ratios(result: BenchResult) -> Table:
    table = Table(title="times as long, round by round", title_justify="left")
    table.add_column("ratio")
    table.add_column("median", justify="right")
    table.add_column("90 % of rounds", justify="right")
    for name, r in result.ratios.items():
        table.add_row(name.replace("_", " "), f"{r.median:.2f}", f"{r.p5:.2f} to {r.p95:.2f}")
    return table
