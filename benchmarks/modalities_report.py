"""What benchmarks/modalities.py found, as tables, as a picture and as a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from modalities_data import SETS
from rich.console import Console
from rich.table import Table

from rep_edge.evaluation import COMBINED, RATES, Row
from rep_edge.files import write_file
from rep_edge.plots import COLOURS, MARKERS
from rep_edge.report import NAMES, mean_score, unique

SHOWN_RATE = 0.7
LOST = {COMBINED[0]: "one of the two", COMBINED[1]: "one of the three"}


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of one method on one set: every metric, one value a seed, 0 to 1.

    setting, missing_rate: as a row's (`rep_edge.evaluation.Row`).
    """

    set: str
    method: str
    setting: str
    missing_rate: float | None
    scores: dict[str, list[float]]


def cells(name: str, rows: Sequence[Row]) -> list[Cell]:
    """The rows of a set, those of all seeds in one."""
    found = []
    for key in dict.fromkeys((row.method, row.setting, row.missing_rate) for row in rows):
        of_seeds = [row.scores for row in rows if (row.method, row.setting, row.missing_rate) == key]
        scores = {metric: [round(each[metric], 4) for each in of_seeds] for metric in of_seeds[0]}
        found.append(Cell(set=name, method=key[0], setting=key[1], missing_rate=key[2], scores=scores))
    return found


def encoded(head: Mapping[str, object], found: Sequence[Cell]) -> bytes:
    """The record as JSON, one line a cell."""
    start = msgspec.json.format(msgspec.json.encode(head), indent=1).removesuffix(b"\n}")
    return start + b',\n "cells": [\n  ' + b",\n  ".join(map(msgspec.json.encode, found)) + b"\n ]\n}\n"


def print_set(name: str, found: Sequence[Cell], plain: str, console: Console) -> None:
    """One table for each group of metrics at SHOWN_RATE, with ratios to the method `plain`, and one by pattern."""
    title, _, groups = SETS[name]
    methods = unique(cell.method for cell in found)
    score = {(cell.method, cell.setting, cell.missing_rate): cell.scores for cell in found}
    settings = unique(cell.setting for cell in found if cell.missing_rate == SHOWN_RATE)
    for group in groups:
        named = " / ".join(NAMES.get(metric, metric) for metric in group)
        table = Table(title=f"{title}, generated: {named} in %, and its ratio to the {plain}", title_justify="left")
        table.add_column(f"{100 * SHOWN_RATE:.0f} % of the examples lose")
        for setting in settings:
            table.add_column(LOST.get(setting, setting.removesuffix(" missing")), justify="right")
        for method in methods:
            entries = []
            for setting in settings:
                own, base = score[method, setting, SHOWN_RATE], score[plain, setting, SHOWN_RATE]
                ratio = np.mean(own[group[0]]) / np.mean(base[group[0]])
                entries.append(f"{' / '.join(spread(own[metric]) for metric in group)}  x {ratio:.2f}")
            table.add_row(method, *entries)
        console.print(table)
    metric = groups[0][0]
    table = Table(title=f"{title}, generated: {NAMES.get(metric, metric)} in % by what is live", title_justify="left")
    table.add_column("live in all examples")
    patterns = unique(cell.setting for cell in found if cell.missing_rate is None)
    for pattern in patterns:
        table.add_column(pattern, justify="right")
    for method in methods:
        table.add_row(method, *(spread(score[method, pattern, None][metric]) for pattern in patterns))
    console.print(table)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds, in %."""
    return f"{100 * np.mean(values):.1f}" + (f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def draw(rows_of: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Write a PNG: a panel a set, its headline in % over the share of examples that lose one modality or another."""
    columns = min(3, len(rows_of))
    lines = -(-len(rows_of) // columns)
    figure = Figure(figsize=(0.8 + 3.9 * columns, 0.9 + 3.1 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    methods: dict[str, int] = {}
    for rows in rows_of.values():
        for method in unique(row.method for row in rows):
            methods.setdefault(method, len(methods))
    for panel, (name, rows) in zip(panels, rows_of.items(), strict=False):
        _draw_set(panel, name, rows, methods)
    for panel in panels[len(rows_of) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(rows_of) - columns) : len(rows_of)]:
        panel.set_xlabel("examples that lose a modality in %")
    handles = {label: handle for p in panels for handle, label in zip(*p.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_file(path, buffer.getvalue())


def _draw_set(panel: Axes, name: str, rows: Sequence[Row], methods: Mapping[str, int]) -> None:
    setting = next(row.setting for row in rows if row.setting in COMBINED)
    x = [100 * rate for rate in RATES]
    for method in unique(row.method for row in rows):
        points = [mean_score(rows, method, setting, rate) for rate in RATES]
        mean, sd = (100 * np.array(values) for values in ([p.mean for p in points], [p.sd for p in points]))
        colour, marker = COLOURS[methods[method]], MARKERS[methods[method]]
        panel.plot(x, mean, color=colour, marker=marker, markersize=4, label=method)
        panel.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.12)
    metric = rows[0].metric
    panel.set(title=f"{SETS[name].title}, generated", ylabel=f"{NAMES.get(metric, metric)} in %", xticks=x)
    panel.grid(alpha=0.3)
