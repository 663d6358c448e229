"""Write a folder of recordings, laid out as one's own would be, from the simulated source (see docs/recordings.md).

python examples/make_recordings.py recordings
rep-edge train configs/recordings.yaml --out build/own/backbone
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from obspy import Stream as Traces
from obspy import Trace, UTCDateTime

from rep_edge.config import SimulatedData
from rep_edge.data.opening import open_dataset
from rep_edge.data.windows import WindowDataset
from rep_edge.errors import InputError
from rep_edge.files import new_folder
from rep_edge.signals import Stream, WindowSpec

SPEC = WindowSpec(
    modalities=(
        Stream(name="acoustic", rate_hz=8000, samples=16000, unit="full scale"),
        Stream(name="seismic", rate_hz=100, samples=200, unit="counts"),
    ),
    hop_s=2.0,
)
START = UTCDateTime(2024, 1, 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Write simulated recordings as WAV and miniSEED files with labels.csv."
    )
    parser.add_argument("folder", type=Path, help="folder to make; must not exist")
    parser.add_argument("--runs-per-class", type=int, default=20, help="recordings of each class (at least 3 to train)")
    parser.add_argument("--windows-per-run", type=int, default=7, help="windows of 2 s in each recording")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = SimulatedData(
        runs_per_class=options.runs_per_class, windows_per_run=options.windows_per_run, seed=options.seed
    )
    try:
        count = write_recordings(options.folder, open_dataset(data, SPEC))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.folder}: {count} recordings, {count * options.windows_per_run * SPEC.window_s / 60:.0f} minutes")
    print("next: rep-edge train configs/recordings.yaml --out build/own/backbone")
    print(f"      (data.root in that file must be {options.folder})")
    return 0


def write_recordings(folder: Path, dataset: WindowDataset) -> int:
    """One WAV and one miniSEED file for each run, and labels.csv; the folder appears whole. Returns the recordings."""
    lines = ["recording,start,end,label"]
    runs = list(dict.fromkeys(dataset.recordings))
    with new_folder(folder) as temporary:
        for name in dataset.spec.names:
            (temporary / name).mkdir()
        for run in runs:
            windows = [dataset[i] for i, recording in enumerate(dataset.recordings) if recording == run]
            for name in dataset.spec.names:
                samples = np.concatenate([window.values[name][0] for window in windows])
                write_file(temporary / name / run, dataset.spec.stream(name), samples)
            lines.append(f"{run},0,{len(windows) * dataset.spec.window_s:g},{dataset.labels[windows[0].target]}")
        (temporary / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(runs)


def write_file(stem: Path, modality: Stream, samples: NDArray[np.float32]) -> None:
    """Sound as WAV, ground motion as miniSEED; both keep float32, so nothing is lost."""
    if modality.name == "acoustic":
        soundfile.write(stem.with_name(f"{stem.name}.wav"), samples, round(modality.rate_hz), subtype="FLOAT")
        return
    header = {"network": "XX", "station": "SIM", "channel": "EHZ", "starttime": START}
    trace = Trace(samples, header={**header, "sampling_rate": modality.rate_hz})
    Traces([trace]).write(str(stem.with_name(f"{stem.name}.mseed")), format="MSEED")


if __name__ == "__main__":
    raise SystemExit(main())
