"""The example writes a folder that the recordings source reads back, sample by sample."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from rep_edge.config import RecordingsData, SimulatedData, read_config
from rep_edge.data.opening import open_dataset
from rep_edge.data.splits import split

ROOT = Path(__file__).parents[2]


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "make_recordings.py"), str(folder)]
    return subprocess.run(
        [*command, "--runs-per-class", "3", "--windows-per-run", "2"], capture_output=True, text=True, check=False
    )


def test_written_recordings_are_read_back(tmp_path: Path) -> None:
    done = make(tmp_path / "recordings")
    assert (done.returncode, done.stderr) == (0, "")
    config = read_config(ROOT / "configs" / "recordings.yaml")
    assert isinstance(config.data, RecordingsData)
    assert config.data.root == "recordings"
    simulated = open_dataset(SimulatedData(runs_per_class=3, windows_per_run=2), config.signals)
    read = open_dataset(RecordingsData(root=str(tmp_path / "recordings")), config.signals)
    assert len(read) == 3 * 7 * 3  # a hop of 1 s: three windows in 4 s
    assert sorted(read.labels) == sorted(simulated.labels)
    where = read.recordings.index(simulated.recordings[0])
    for name in config.signals.names:
        np.testing.assert_array_equal(read[where].values[name], simulated[0].values[name])
        np.testing.assert_array_equal(read[where + 2].values[name], simulated[1].values[name])
    parts = split(read, config.split)
    assert not set(parts.train.recordings) & set(parts.test.recordings)


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "mine.txt").write_text("mine")
    done = make(tmp_path / "recordings")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["recordings", "mine.txt"]
