"""How far each layer drifts from fp32, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rep_edge.calibration.drift import LayerDrift
from rep_edge.files import write_file
from rep_edge.runtime.manifest import PrecisionRecord

COLOURS = {"fp16": "#0072B2", "int8": "#D55E00"}
KEPT = "#000000"
LEAST = 1e-5
"""Relative error from which the axis starts; what is exact is drawn there."""


def draw_drift(
    drift: Mapping[tuple[str, str], Sequence[LayerDrift]], records: Sequence[PrecisionRecord], path: Path
) -> None:
    """Write a PNG: a panel for each pattern, relative error in % over the layers in graph order, each precision's line.

    drift: (pattern, precision) -> layers. A ring marks a layer that stays in fp32.
    """
    patterns = list(dict.fromkeys(pattern for pattern, _ in drift))
    figure = Figure(figsize=(11, 1 + 2.9 * len(patterns)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(patterns), 1, squeeze=False)[:, 0]
    kept = {(record.pattern, record.precision): {layer.name for layer in record.kept} for record in records}
    for axis, pattern in zip(axes, patterns, strict=True):
        for (found, precision), layers in drift.items():
            if found != pattern:
                continue
            error = [100 * max(layer.error, LEAST) for layer in layers]
            axis.plot(error, color=COLOURS[precision], linewidth=1, marker=".", markersize=3, label=precision)
            stay = [i for i, layer in enumerate(layers) if layer.name in kept.get((pattern, precision), ())]
            axis.plot(stay, [error[i] for i in stay], "o", markersize=7, color=COLOURS[precision], fillstyle="none")
        axis.set_yscale("log")
        axis.set_title(pattern, loc="left", fontsize=10)
        axis.set_ylabel("relative error in %")
        axis.grid(alpha=0.3)
        axis.margins(x=0.01)
    axes[-1].set_xlabel("layer in graph order: products, normalisations, softmax")
    axes[0].plot([], [], "o", markersize=7, color=KEPT, fillstyle="none", label="stays in fp32")
    axes[0].legend(loc="upper left", ncols=3, frameon=False, fontsize=9)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_file(path, buffer.getvalue())
