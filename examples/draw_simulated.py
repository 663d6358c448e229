"""Draw one window of each class of the simulated source as spectrograms of both sensors (see docs/simulated.md).

python examples/draw_simulated.py docs/images/simulated.png
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from make_recordings import SPEC
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rep_edge.config import SimulatedData
from rep_edge.data.opening import open_dataset
from rep_edge.errors import InputError
from rep_edge.files import write_file

SEGMENT_S = {"acoustic": 0.128, "seismic": 0.5}
LOWEST_HZ = {"acoustic": 20.0, "seismic": 3.0}
TICKS_HZ = {"acoustic": (20, 50, 100, 200, 500, 1000, 2000), "seismic": (3, 5, 10, 20, 40)}
COLOURS = colormaps["magma"].resampled(20)


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw one simulated window per class, both sensors, as a PNG.")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    try:
        dataset = open_dataset(SimulatedData(runs_per_class=1, windows_per_run=1, seed=options.seed), SPEC)
        figure = Figure(figsize=(11.0, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(SPEC.streams), len(dataset), sharex=True, sharey="row", squeeze=False)
        for row, modality in zip(axes, SPEC.streams, strict=True):
            for column, axis in enumerate(row):
                mesh = draw(axis, dataset[column].values[modality.name][0], modality.rate_hz, modality.name)
            row[0].set_ylabel(f"{modality.name}: frequency in Hz")
        for axis, label in zip(axes[0], dataset.labels, strict=True):
            axis.set_title(label)
        axes[0, 0].set_xlim(0.25, 1.75)
        figure.supxlabel("time in s", fontsize="medium")
        figure.colorbar(mesh, ax=axes, label="power in dB relative to the window's peak", aspect=40, pad=0.01)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        write_file(options.picture, buffer.getvalue())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def draw(axis: Axes, samples: NDArray[np.float32], rate_hz: float, name: str) -> QuadMesh:
    """The power of overlapping Hann segments over time (s) and frequency (Hz), in dB relative to the largest."""
    n = round(SEGMENT_S[name] * rate_hz)
    hop, padded = n // 10, max(2 * n, 200)
    segments = np.lib.stride_tricks.sliding_window_view(samples, n)[::hop]
    power = np.abs(np.fft.rfft(segments * np.hanning(n), padded)[:, 1:]) ** 2
    frequency = np.fft.rfftfreq(padded, 1.0 / rate_hz)[1:]
    time = (np.arange(len(segments)) * hop + n / 2) / rate_hz
    shown = frequency >= LOWEST_HZ[name]
    level = 10.0 * np.log10(np.maximum(power / power[:, shown].max(), 1e-12))
    mesh = axis.pcolormesh(time, frequency[shown], level[:, shown].T, vmin=-50.0, vmax=0.0, cmap=COLOURS)
    axis.set_yscale("log")
    axis.set_yticks(TICKS_HZ[name], [str(tick) for tick in TICKS_HZ[name]])
    axis.minorticks_off()
    return mesh


if __name__ == "__main__":
    raise SystemExit(main())
