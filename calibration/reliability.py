"""Reliability diagrams: accuracy over confidence, before and after the temperature, one row for each pattern."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rep_edge.calibration.confidence import (
    BINS,
    Answers,
    ConfidenceBins,
    check_answers,
    confidence_bins,
    ece_floor,
    expected_calibration_error,
)
from rep_edge.errors import InputError, MissingExtraError
from rep_edge.files import write_file
from rep_edge.runtime.softmax import softmax

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# Of Okabe and Ito's palette, which people with colour-blindness can tell apart.
INK, RIGHT, OVER, UNDER = "#000000", "#56B4E9", "#D55E00", "#009E73"
OPACITY = 0.6
WIDTH = 100 / BINS
BAR = 0.92 * WIDTH
FAINT = 10
"""A bin of fewer windows is drawn faintly: its accuracy is mostly chance."""
SEED = 0
BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}


def draw_reliability(answers: Mapping[str, Answers], temperatures: Mapping[str, float], path: Path) -> None:
    """Write a PNG: a row for each pattern, at temperature 1 on the left and at its own on the right.

    answers: pattern -> logits and targets of test windows; temperatures: of the same patterns. Each panel says its
    expected calibration error and how much of it chance explains. Raises InputError for no patterns or answers that
    cannot be used, MissingExtraError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch
    except ImportError as error:
        raise MissingExtraError("plots", "matplotlib") from error
    if not answers:
        raise InputError(f"{path}: there are no patterns to draw; give the answers of at least one")
    figure = Figure(figsize=(8.6, 0.9 + 3.5 * len(answers)), layout="constrained")
    FigureCanvasAgg(figure)
    heights = [part for _ in answers for part in (4.0, 1.0)]
    axes = figure.subplots(len(heights), 2, squeeze=False, sharex=True, height_ratios=heights)
    for row, (pattern, found) in enumerate(answers.items()):
        check_answers(*found)
        for column, temperature in enumerate((1.0, temperatures[pattern])):
            diagram, strip = axes[2 * row : 2 * row + 2, column]
            when = f"fitted, T = {temperature:.2f}" if column else "as trained, T = 1"
            diagram.set_title(f"{pattern}: {when}", fontsize=10)
            _draw_panel(diagram, strip, found, temperature)
    for axis in axes[-1]:
        axis.set_xlabel("confidence in the top label in %")
    for diagram, strip in zip(axes[::2, 0], axes[1::2, 0], strict=True):
        diagram.set_ylabel("accuracy in %")
        strip.set_ylabel("windows")
    names = {RIGHT: "accuracy and confidence agree", OVER: "too confident", UNDER: "not confident enough"}
    handles: list[Artist] = [Line2D([], [], color=INK, linewidth=1.2, label="accuracy in the bin")]
    handles += [Patch(facecolor=colour, alpha=OPACITY, label=name) for colour, name in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_file(path, buffer.getvalue())


def _draw_panel(diagram: Axes, strip: Axes, answers: Answers, temperature: float) -> None:
    probabilities = softmax(answers.logits, temperature)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == answers.targets
    # A confidence of exactly 1 is drawn with its neighbours.
    bins = confidence_bins(np.minimum(confidence, np.nextafter(1, 0)), right)
    _draw_diagram(diagram, bins)
    _draw_strip(strip, bins)
    lines = (
        f"ECE {100 * expected_calibration_error(probabilities, answers.targets):.1f} %",
        f"chance alone {100 * ece_floor(probabilities, SEED):.1f} %",
        f"accuracy {100 * right.mean():.1f} %",
        f"confidence {100 * confidence.mean():.1f} %",
    )
    diagram.text(3, 97, "\n".join(lines), va="top", fontsize=9, linespacing=1.35, bbox=BOX)


def _draw_diagram(axis: Axes, bins: ConfidenceBins) -> None:
    """Bars of accuracy, and on them the gap up or down to the mean confidence."""
    for k in np.flatnonzero(bins.windows[:BINS]):
        accuracy, confidence = 100 * bins.accuracy[k], 100 * bins.confidence[k]
        alpha = OPACITY * (0.3 if bins.windows[k] < FAINT else 1)
        place = {"x": k * WIDTH, "width": BAR, "align": "edge", "alpha": alpha}
        axis.bar(height=min(accuracy, confidence), color=RIGHT, **place)
        colour = OVER if confidence > accuracy else UNDER
        axis.bar(height=abs(confidence - accuracy), bottom=min(accuracy, confidence), color=colour, **place)
        axis.hlines(accuracy, k * WIDTH, k * WIDTH + BAR, color=INK, linewidth=1.2)
    axis.plot([0, 100], [0, 100], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set(xlim=(0, 100), ylim=(0, 102), xticks=range(0, 101, 20), yticks=range(0, 101, 20))
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)


def _draw_strip(axis: Axes, bins: ConfidenceBins) -> None:
    """How many windows stand behind each bar."""
    count = bins.windows[:BINS]
    axis.bar(np.arange(BINS) * WIDTH, count, width=BAR, align="edge", color=INK, alpha=0.45)
    for k in np.flatnonzero(count):
        axis.text(k * WIDTH + BAR / 2, count[k], f"{count[k]:.0f}", ha="center", va="bottom", fontsize=6)
    axis.set(ylim=(0, 1.35 * count.max()), yticks=[])
