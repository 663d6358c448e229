"""Evaluation rows as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from rep_edge.evaluation import COMBINED, Row

NAMES = {
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "weighted_f1": "weighted F1",
    "auroc": "AUROC",
    "ece": "calibration error",
    "acc2_nonneg": "Acc-2 (negative against the rest)",
    "f1_nonneg": "F1 of it",
    "acc2_nonzero": "Acc-2 (zeros left out)",
    "f1_nonzero": "F1 of it",
    "acc2_positive": "Acc-2 (positive against the rest)",
    "f1_positive": "F1 of it",
    "acc7": "Acc-7",
    "acc5": "Acc-5",
    "pearson": "Pearson",
    "mae": "mean absolute error (x 100)",
}
"""Metrics as people know them, where the name alone does not say it."""
TOGETHER = 4
"""Metrics in one table."""


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


def mean_score(rows: Sequence[Row], method: str, setting: str, rate: float | None) -> Mean:
    """The headline over the seeds of one cell."""
    cell = [row for row in rows if (row.method, row.setting, row.missing_rate) == (method, setting, rate)]
    values = np.array([row.headline for row in cell])
    if len(cell) == 1:
        return Mean(float(values[0]), 0.0, cell[0].low, cell[0].high)
    sd = float(values.std(ddof=1))
    half = float(student.ppf(0.975, len(cell) - 1)) * sd / len(cell) ** 0.5
    mean = float(values.mean())
    return Mean(mean, sd, mean - half, mean + half)


def print_report(rows: Sequence[Row], console: Console) -> None:
    """The headline over the missing rates, one table a setting, and all scores per pattern."""
    metric = NAMES.get(rows[0].metric, rows[0].metric)
    methods = unique(row.method for row in rows)
    patterns = unique(row.setting for row in rows if row.missing_rate is None)
    for setting in unique(row.setting for row in rows if row.missing_rate is not None):
        rates = sorted({row.missing_rate for row in rows if row.setting == setting and row.missing_rate is not None})
        table = Table(title=f"{setting}: {metric} in %", title_justify="left")
        table.add_column("windows that lose a modality")
        for rate in rates:
            table.add_column(f"{100 * rate:.0f} %", justify="right")
        for method in methods:
            table.add_row(method, *(_cell(mean_score(rows, method, setting, rate)) for rate in rates))
        console.print(table)
    for setting in COMBINED:
        if any(row.setting == setting for row in rows):
            console.print(
                f"{setting}: one modality at a time, each in an equal share of those windows.", highlight=False
            )
    console.print(_spread(rows), highlight=False)
    for part in _parts(list(rows[0].scores)):
        console.print(_by_pattern(rows, part, methods, patterns))


def _parts(metrics: list[str]) -> list[list[str]]:
    """Metrics that stand in one table: few enough for a line to hold them."""
    return [metrics[i : i + TOGETHER] for i in range(0, len(metrics), TOGETHER)]


def _by_pattern(rows: Sequence[Row], metrics: Sequence[str], methods: Sequence[str], patterns: Sequence[str]) -> Table:
    table = Table(title="by live modalities, in %", title_justify="left")
    table.add_column("live", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for metric in metrics:
        table.add_column(NAMES.get(metric, metric), justify="right")
    for pattern in patterns:
        for number, method in enumerate(methods):
            cell = [row for row in rows if (row.method, row.setting, row.missing_rate) == (method, pattern, None)]
            means = [np.mean([row.scores[metric] for row in cell]) for metric in metrics]
            table.add_row("" if number else pattern, method, *(f"{100 * mean:.1f}" for mean in means))
    return table


def _cell(score: Mean) -> str:
    return f"{100 * score.mean:.1f}" + (f" ± {100 * score.sd:.1f}" if score.sd else "")


def _spread(rows: Sequence[Row]) -> str:
    """What stands behind the figures, in one line."""
    if len({row.seed for row in rows}) > 1:
        return "± is the standard deviation over the seeds of training."
    half = max(((row.high - row.low) / 2 for row in rows), default=0.0)
    return (
        "With other recordings or examples of the same kind a figure may differ "
        f"by up to {100 * half:.1f} points (95 % interval)."
    )
