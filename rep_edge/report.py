"""Evaluation rows as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from rep_edge.evaluation import COMBINED, Row


class Mean(NamedTuple):
    """A score over seeds: mean, standard deviation (0 for one seed) and its 95 % interval.

    With one seed the interval is the row's own, over recordings; with several it is Student's over the seeds.
    """

    mean: float
    sd: float
    low: float
    high: float


def unique(values: Iterable[str]) -> list[str]:
    """Distinct values in the order of their first appearance."""
    return list(dict.fromkeys(values))


def mean_accuracy(rows: Sequence[Row], method: str, setting: str, rate: float | None) -> Mean:
    """Accuracy over the seeds of one cell."""
    cell = [row for row in rows if (row.method, row.setting, row.missing_rate) == (method, setting, rate)]
    values = np.array([row.accuracy for row in cell])
    if len(cell) == 1:
        return Mean(float(values[0]), 0.0, cell[0].low, cell[0].high)
    sd = float(values.std(ddof=1))
    half = float(student.ppf(0.975, len(cell) - 1)) * sd / len(cell) ** 0.5
    mean = float(values.mean())
    return Mean(mean, sd, mean - half, mean + half)


def print_report(rows: Sequence[Row], console: Console) -> None:
    """Accuracy over the missing rates, one table a setting, and the scores per pattern."""
    methods = unique(row.method for row in rows)
    patterns = unique(row.setting for row in rows if row.missing_rate is None)
    for setting in unique(row.setting for row in rows if row.missing_rate is not None):
        rates = sorted({row.missing_rate for row in rows if row.setting == setting and row.missing_rate is not None})
        table = Table(title=f"{setting}: accuracy in %", title_justify="left")
        table.add_column("windows that lose a sensor")
        for rate in rates:
            table.add_column(f"{100 * rate:.0f} %", justify="right")
        for method in methods:
            table.add_row(method, *(_cell(mean_accuracy(rows, method, setting, rate)) for rate in rates))
        console.print(table)
    for setting in COMBINED:
        if any(row.setting == setting for row in rows):
            console.print(f"{setting}: one sensor at a time, each in an equal share of those windows.", highlight=False)
    console.print(_spread(rows), highlight=False)
    table = Table(title="by live sensors: accuracy / macro-F1 / calibration error in %", title_justify="left")
    table.add_column("method")
    for pattern in patterns:
        table.add_column(pattern, justify="right")
    for method in methods:
        table.add_row(method, *(_pattern_cell(rows, method, pattern) for pattern in patterns))
    console.print(table)


def _cell(score: Mean) -> str:
    return f"{100 * score.mean:.1f}" + (f" ± {100 * score.sd:.1f}" if score.sd else "")


def _spread(rows: Sequence[Row]) -> str:
    """What stands behind the figures, in one line."""
    if len({row.seed for row in rows}) > 1:
        return "± is the standard deviation over the seeds of training."
    half = max(((row.high - row.low) / 2 for row in rows), default=0.0)
    return (
        f"With other recordings of the same kind a figure may differ by up to {100 * half:.1f} points (95 % interval)."
    )


def _pattern_cell(rows: Sequence[Row], method: str, pattern: str) -> str:
    cell = [row for row in rows if (row.method, row.setting, row.missing_rate) == (method, pattern, None)]
    means = (np.mean([getattr(row, field) for row in cell]) for field in ("accuracy", "macro_f1", "ece"))
    return "/".join(f"{100 * mean:.1f}" for mean in means)
