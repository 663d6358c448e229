"""Evaluation rows as a picture: the headline over the missing rate, as in the paper's figure 4."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rep_edge.evaluation import COMBINED, Row
from rep_edge.files import write_file
from rep_edge.report import NAMES, mean_score, unique

# Okabe and Ito's palette, which people with colour-blindness can tell apart; black first.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
MARKERS = "osD^vPX*"


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG: one panel a setting, the headline in % over missing rate in %, with each point's 95 % interval."""
    swept = [row for row in rows if row.missing_rate is not None]
    names, methods = unique(row.setting for row in swept), unique(row.method for row in rows)
    figure = Figure(figsize=(1.2 + 3.6 * len(names), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axis, setting in zip(axes, names, strict=True):
        rates = sorted({row.missing_rate for row in swept if row.setting == setting and row.missing_rate is not None})
        for number, method in enumerate(methods):
            points = [mean_score(swept, method, setting, rate) for rate in rates]
            x = [100 * rate for rate in rates]
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axis.plot(x, [100 * p.mean for p in points], color=colour, marker=marker, markersize=4, label=method)
            axis.fill_between(x, [100 * p.low for p in points], [100 * p.high for p in points], color=colour, alpha=0.1)
        axis.set_title(f"{setting}, one at a time" if setting in COMBINED else setting)
        axis.set_xlabel("windows that lose a modality in %")
        axis.set_xticks([0, 30, 50, 70, 90, 100])
        axis.grid(alpha=0.3)
    metric = NAMES.get(rows[0].metric, rows[0].metric)
    axes[0].set_ylabel(f"{metric} on test windows in %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(methods)), frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_file(path, buffer.getvalue())
