"""What a soak found: figures, table and picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table
from soak_core import PER_DECADE
from soak_watch import Told

WITHIN = 2
"""Hops that a stream may take."""
T_95 = 1.96
FIT_S = 300.0
"""Seconds that a slope is fitted over at least: what settles after a start is no leak."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """PSS of the core. samples: (wall s, MiB); restarts: wall s; since_s: where the fit begins; slope: MiB per wall
    hour by least squares, and its 95 % interval; None where the run was too short to tell."""

    samples: list[tuple[float, float]]
    restarts: list[float]
    since_s: float
    slope: float | None
    low: float | None
    high: float | None


class Hops(msgspec.Struct, frozen=True, kw_only=True):
    """How many hops it took. count: cases; within: share within WITHIN hops; median, p95, most."""

    count: int
    within: float
    median: float
    p95: float
    most: int


class SoakResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. turn_ms: of the turns of the loop that decided a hop, with all that such a turn does; never_
    acknowledged: delivered by a core that was killed before it could say so; twice: events delivered more than once;
    noticed, recovered: kind of fault -> hops; flapping: recoveries that are not among them."""

    machine: Mapping[str, str | int]
    bundle: str
    seed: int
    wall_min: float
    stream_h: float
    windows: int
    missing: int
    faults: dict[str, int]
    restarts: int
    turn_ms: dict[str, float]
    acknowledged: int
    delivered: int
    twice: int
    lost: int
    never_acknowledged: int
    clips: int
    noticed: dict[str, Hops]
    recovered: dict[str, Hops]
    flapping: int
    memory: Memory


def fit_slope(samples: Sequence[tuple[float, float]]) -> tuple[float | None, float | None, float | None]:
    """Slope per hour of (s, value), and its 95 % interval, taking the residuals for independent; None within FIT_S."""
    if len(samples) < 10 or samples[-1][0] - samples[0][0] < FIT_S:
        return None, None, None
    hours, values = np.array(samples).T / [[3600.0], [1.0]]
    away = hours - hours.mean()
    slope = float(away @ values / (away @ away))
    residuals = values - values.mean() - slope * away
    error = float(np.sqrt(residuals @ residuals / (len(values) - 2) / (away @ away)))
    return slope, slope - T_95 * error, slope + T_95 * error


def summarise_hops(told: Iterable[Told], noticed: bool) -> dict[str, Hops]:
    """Kind of fault, and "all", to how soon."""
    cases = [one for one in told if one.noticed is noticed and not one.flapping]
    by_kind = {kind: [one.hops for one in cases if one.kind == kind] for kind in sorted({one.kind for one in cases})}
    by_kind["all"] = [one.hops for one in cases]
    return {kind: _hops(np.array(hops)) for kind, hops in by_kind.items() if hops}


def _hops(hops: np.ndarray) -> Hops:
    return Hops(
        count=len(hops),
        within=float((hops <= WITHIN).mean()),
        median=float(np.median(hops)),
        p95=float(np.percentile(hops, 95)),
        most=int(hops.max()),
    )


def summarise_turns(turns: Counter[int]) -> dict[str, float]:
    """Bins of soak_core to milliseconds: p50, p99, p99.9, most."""
    bins = sorted(turns)
    if not bins:
        return {}
    upto = np.cumsum([turns[at] for at in bins])
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1.0}
    return {
        name: 1e3 * 10 ** (bins[int(np.searchsorted(upto, share * upto[-1]))] / PER_DECADE)
        for name, share in shares.items()
    }


def print_result(result: SoakResult) -> None:
    """Two tables."""
    console = Console(width=120)
    memory, turn = result.memory, result.turn_ms
    slope = "too short to tell"
    if memory.slope is not None and memory.low is not None and memory.high is not None:
        slope = f"{memory.slope:+.2f} MiB per hour of wall time ({memory.low:+.2f} to {memory.high:+.2f})"
    rows = {
        "stream time": f"{result.stream_h:.1f} h in {result.wall_min:.1f} min",
        "hops": f"{result.windows}, missing {result.missing}",
        "faults": f"{sum(result.faults.values())} of {len(result.faults)} kinds",
        "restarts by kill -9": str(result.restarts),
        "memory (PSS)": f"{memory.samples[-1][1] if memory.samples else 0:.1f} MiB, {slope}",
        "turn that decides a hop": ", ".join(f"{name} {ms:.2f} ms" for name, ms in turn.items()),
        "events": f"{result.acknowledged} acknowledged, {result.delivered} delivered, {result.twice} of them more than "
        f"once, {result.lost} lost",
        "events delivered, not acknowledged": f"{result.never_acknowledged} (killed in between)",
        "clips": str(result.clips),
        "cases left out of the hops below": f"{result.flapping}, the stream came and went too often",
    }
    table = Table(title="soak", title_justify="left", show_header=False)
    for name, text in rows.items():
        table.add_row(name, text)
    console.print(table)
    table = Table(title=f"hops until a stream is out, and in again; within {WITHIN}: share", title_justify="left")
    for column in ("fault", "", "cases", f"within {WITHIN}", "median", "p95", "most"):
        table.add_column(column)
    for what, found in (("out", result.noticed), ("in again", result.recovered)):
        for kind, h in found.items():
            figures = (f"{100 * h.within:.1f} %", f"{h.median:g}", f"{h.p95:g}", str(h.most))
            table.add_row(kind, what, str(h.count), *figures)
    console.print(table)


def draw_memory(memory: Memory, path: Path) -> None:
    """PSS over wall time, a line at each restart."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.2), layout="constrained")
    minutes, mib = np.array(memory.samples).T / [[60.0], [1.0]]
    axes.plot(minutes, mib, ".", markersize=2)
    for at in memory.restarts:
        axes.axvline(at / 60, color="0.7", linewidth=0.8, zorder=0)
    if memory.slope is not None:
        late = minutes >= memory.since_s / 60
        line = mib[late].mean() + memory.slope / 60 * (minutes[late] - minutes[late].mean())
        axes.plot(minutes[late], line, label=f"{memory.slope:+.2f} MiB per hour")
        axes.legend()
    axes.set(xlabel="wall time, min (grey: kill -9 and restart)", ylabel="PSS, MiB", ylim=(0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
