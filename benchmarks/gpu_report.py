"""What benchmarks/gpu.py found, as a record and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from rep_edge.runtime.timing import Percentiles, Ratio, Times, percentiles, ratio


class Variant(msgspec.Struct, frozen=True, order=True):
    """What was run. runs_on: a backend's name, "pytorch" or "torch-compile"; pattern: live sensors joined by "+"."""

    runs_on: str
    precision: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.runs_on} {self.precision}, {self.pattern}"


REFERENCES = (
    ("tensorrt", "fp16"),
    ("tensorrt-rtx", "fp16"),
    ("tensorrt", "fp32"),
    ("tensorrt-rtx", "fp32"),
    ("onnxruntime-cpu", "fp32"),
)
"""What the others are compared with: the first of these that was timed for a pattern."""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """A variant beside the fp32 graph on ONNX Runtime's CPU provider.

    same_label: share of windows; largest: difference of a probability; bound: of that. ours: whether it runs a graph of
    the bundle, so that passing the bound is a fault; a rival is only shown.
    """

    variant: Variant
    windows: int
    same_label: float
    largest: float
    bound: float
    ours: bool

    @property
    def within(self) -> bool:
        return self.largest <= self.bound


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """ms: from arrays on the host to logits on the host, batch 1; ratio: times as long as `reference`."""

    variant: Variant
    ms: Percentiles
    reference: Variant | None
    ratio: Ratio | None


class GpuResult(msgspec.Struct, frozen=True, kw_only=True):
    """machine: with GPU, driver and versions; source: of the bundle; windows: that parity was checked on.

    skipped: variant, or what runs it, -> why it could not run; notes: variant -> what is not as it should be.
    """

    machine: dict[str, str | int]
    source: str
    windows: str
    rounds: int
    repeats: int
    parity: list[Parity]
    latency: list[Latency]
    skipped: dict[str, str]
    notes: dict[str, str]


def compare(times: Mapping[Variant, Times]) -> list[Latency]:
    """Percentiles and ratios, pattern by pattern, the fastest first."""
    latency = []
    for pattern in dict.fromkeys(variant.pattern for variant in times):
        reference = _reference(times, pattern)
        own = [
            Latency(
                variant=variant,
                ms=percentiles(values),
                reference=reference,
                ratio=None if reference is None else ratio(values, times[reference]),
            )
            for variant, values in times.items()
            if variant.pattern == pattern
        ]
        latency += sorted(own, key=lambda entry: entry.ms.p50)
    return latency


def _reference(times: Mapping[Variant, Times], pattern: str) -> Variant | None:
    candidates = (Variant(runs_on, precision, pattern) for runs_on, precision in REFERENCES)
    return next((variant for variant in candidates if variant in times), None)


def faults(result: GpuResult, required: Sequence[str]) -> list[str]:
    """Why the run failed: graphs of the bundle beyond their bound, and what was required and did not run."""
    found = [
        f"{p.variant}: differs from fp32 on the CPU by {p.largest:.1e} in a probability (bound {p.bound:.1e})"
        for p in result.parity
        if p.ours and not p.within
    ]
    for name in required:
        missing = {key: why for key, why in result.skipped.items() if key.partition(" ")[0] == name}
        found += [f"{key}: is required and did not run ({why})" for key, why in missing.items()]
        if not missing and all(entry.variant.runs_on != name for entry in result.latency):
            found.append(f"{name}: is required and did not run")
    return found


def print_result(result: GpuResult, console: Console | None = None) -> None:
    """All of it, for people: what holds for all, then the tables of each pattern."""
    console = console or Console()
    for line in _header(result):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for pattern in dict.fromkeys(entry.variant.pattern for entry in result.latency):
        console.print(_parity(pattern, [p for p in result.parity if p.variant.pattern == pattern]))
        console.print(_latency(pattern, [entry for entry in result.latency if entry.variant.pattern == pattern]))
    for variant, note in result.notes.items():
        console.print(f"{variant}: {note}", highlight=False, markup=False, soft_wrap=True)
    for what, why in result.skipped.items():
        console.print(f"not measured: {what} ({why})", highlight=False, markup=False, soft_wrap=True)


def _header(result: GpuResult) -> tuple[str, ...]:
    machine = result.machine
    versions = [f"{key.removesuffix(' version')} {value}" for key, value in machine.items() if key.endswith(" version")]
    return (
        f"{machine['gpu']} ({machine['compute capability']}), driver {machine['driver']}; {machine['processor']}",
        f"{', '.join(versions)}, Python {machine['python']}",
        f"bundle: {result.source}",
        f"differences: on {result.windows}, to the fp32 graph on ONNX Runtime's CPU provider",
        f"latency: one window from host to host, {result.rounds} rounds of {result.repeats}, all variants interleaved",
    )


def _parity(pattern: str, parity: Sequence[Parity]) -> Table:
    table = _table(f"{pattern}: differences of a probability", ("same label", "largest", "bound", "within"))
    for p in parity:
        within = "yes" if p.within else "NO" if p.ours else "no"
        figures = (f"{100 * p.same_label:.1f} %", f"{p.largest:.1e}", f"{p.bound:.1e}", within)
        table.add_row(p.variant.runs_on, p.variant.precision, *figures)
    return table


def _latency(pattern: str, latency: Sequence[Latency]) -> Table:
    reference = latency[0].reference
    title = f"{pattern}: ms" + (
        f", and times as long as {reference.runs_on} {reference.precision}" if reference else ""
    )
    table = _table(title, ("p50", "p95", "p99", "times (90 % of rounds)"))
    for entry in latency:
        r, figures = entry.ratio, (f"{value:.3f}" for value in (entry.ms.p50, entry.ms.p95, entry.ms.p99))
        times = "" if r is None else f"{r.median:.2f} ({r.p5:.2f} to {r.p95:.2f})"
        table.add_row(entry.variant.runs_on, entry.variant.precision, *figures, times)
    return table


def _table(title: str, figures: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for column in ("runs on", "precision"):
        table.add_column(column, no_wrap=True)
    for column in figures:
        table.add_column(column, justify="right", no_wrap=True)
    return table
