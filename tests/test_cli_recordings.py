"""Folders and files that cannot be used, as commands meet them: one line, exit code 1, nothing half-written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import obspy
import pytest
import soundfile
from bundles import make_bundle
from commands import Done, run
from recorded import counts

from rep_edge.checkpoint import save_pretrained
from rep_edge.config import Config, RecordingsData, SwinConfig, TrainConfig
from rep_edge.model import build_model
from rep_edge.signals import Stream, WindowSpec

NAMES = tuple(f"{label}{i}" for label in ("car", "walk") for i in range(3))
SECONDS, ACOUSTIC_HZ, SEISMIC_HZ = 4, 100, 50
SPEC = WindowSpec(
    hop_s=1.0,
    modalities=(
        Stream(name="acoustic", rate_hz=ACOUSTIC_HZ, samples=200),
        Stream(name="seismic", rate_hz=SEISMIC_HZ, samples=100),
    ),
)
SWIN = SwinConfig(patch_bins={"acoustic": 4, "seismic": 2}, widths=(8,), depths=(1,), heads=2, feature_width=8)


def write_sound(path: Path, rate_hz: int = ACOUSTIC_HZ, channels: int = 1) -> Path:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (SECONDS * rate_hz, channels))
    soundfile.write(path, noise, rate_hz, subtype="PCM_16")
    return path


def write_ground(path: Path, rate_hz: float = SEISMIC_HZ, start_s: float = 0.0) -> Path:
    header = {"network": "XX", "station": "TEST", "channel": "EHZ", "sampling_rate": rate_hz}
    header["starttime"] = obspy.UTCDateTime(2024, 1, 1) + start_s
    obspy.Trace(counts(round(SECONDS * rate_hz)), header).write(str(path), format="MSEED", reclen=512)
    return path


def write_labels(root: Path, *more: str) -> None:
    lines = [f"{name},0,{SECONDS},{name[:-1]}" for name in NAMES]
    (root / "labels.csv").write_text("\n".join(["recording,start,end,label", *lines, *more]) + "\n")


class Experiment(NamedTuple):
    """A sound folder of recordings, its configuration, a backbone for it, and the commands that read it."""

    root: Path
    config: Path
    backbone: Path
    out: Path

    def run(self, name: str) -> Done:
        arguments = {
            "train": (self.config,),
            "adapt": (self.backbone, "--config", self.config),
            "evaluate": (self.backbone,),
        }
        return run(name, *arguments[name], "--out", self.out)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    root = tmp_path / "data"
    for name in SPEC.names:
        (root / name).mkdir(parents=True)
    for name in NAMES:
        write_sound(root / "acoustic" / f"{name}.wav")
        write_ground(root / "seismic" / f"{name}.mseed")
    write_labels(root)
    config = Config(signals=SPEC, data=RecordingsData(root=str(root)), encoder=SWIN, train=TrainConfig(epochs=1))
    (tmp_path / "own.yaml").write_bytes(msgspec.yaml.encode(config))
    save_pretrained(build_model(config, ("car", "walk")), tmp_path / "backbone", training={})
    return Experiment(root, tmp_path / "own.yaml", tmp_path / "backbone", tmp_path / "out")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def change_rate(path: Path) -> None:
    """A piece at twice the rate follows."""
    later = write_ground(path.with_suffix(".later"), 2 * SEISMIC_HZ, start_s=60.0)
    path.write_bytes(path.read_bytes() + later.read_bytes())
    later.unlink()


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "data: there is no such folder"),
    "no folder of a modality": (lambda root: shutil.rmtree(root / "seismic"), "seismic: there is no such folder"),
    "no file": (lambda root: (root / "seismic/car1.mseed").unlink(), "recording car1 (line 3 of labels.csv) has no"),
    "no labels": (lambda root: (root / "labels.csv").unlink(), "labels.csv: there is no such file"),
    "sound cut off": (lambda root: cut_off(root / "acoustic/walk0.wav"), "walk0.wav: the file is cut off"),
    "no sound": (lambda root: (root / "acoustic/walk0.wav").write_text("no sound"), "walk0.wav: cannot be decoded"),
    "seismogram cut off": (lambda root: cut_off(root / "seismic/walk0.mseed"), "walk0.mseed: "),
    "no seismogram": (lambda root: (root / "seismic/car0.mseed").write_bytes(b""), "car0.mseed: cannot be decoded"),
    "a rate that changes": (lambda root: change_rate(root / "seismic/car0.mseed"), "the rate changes inside the file"),
    "other channels": (lambda root: write_sound(root / "acoustic/car0.wav", channels=2), "car0.wav: has 2 channels"),
    "a label after the end": (lambda root: relabel(root, "car0,0,4", "car0,0,9"), "line 2, end: 9 s is after the end"),
    "a label that starts there": (lambda root: relabel(root, "car0,0,4", "car0,8,9"), "start: 8 s is after the end"),
    "an empty class": (lambda root: relabel(root, "car0,0,4,car", "car0,0,1,bus"), "class 'bus' has no window"),
    "a rare class": (lambda root: relabel(root, "car0,0,4,car", "car0,0,4,bus"), "class bus: has 1 recording and"),
}


def relabel(root: Path, old: str, new: str) -> None:
    text = (root / "labels.csv").read_text()
    assert old in text
    (root / "labels.csv").write_text(text.replace(old, new))


def test_the_folder_as_it_is_can_be_used(experiment: Experiment) -> None:
    done = experiment.run("train")
    assert done.code == 0
    assert "18 windows from 6 recordings: car 9, walk 9" in done.err
    assert (experiment.out / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["train", "adapt", "evaluate"])
@pytest.mark.parametrize("fault", FOLDERS)
def test_a_folder_that_cannot_be_used(name: str, fault: str, experiment: Experiment) -> None:
    damage, words = FOLDERS[fault]
    damage(experiment.root)
    assert words in experiment.run(name).error
    assert sorted(path.name for path in experiment.config.parent.iterdir() if path.name != "data") == [
        "backbone",
        "own.yaml",
    ]


def test_another_rate_is_told_and_used(experiment: Experiment) -> None:
    write_sound(experiment.root / "acoustic/car0.wav", 2 * ACOUSTIC_HZ)
    done = experiment.run("train")
    assert done.code == 0
    assert "acoustic: 1 file resampled from 200 Hz to 100 Hz" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_recording_that_may_not_be_read(experiment: Experiment) -> None:
    (experiment.root / "acoustic/car0.wav").chmod(0)
    assert "car0.wav: cannot be decoded" in experiment.run("train").error
    assert not experiment.out.exists()


def turn_into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SOURCES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no sound file": ("acoustic", lambda path: path.unlink(), "a.wav: no such file"),
    "no seismogram file": ("seismic", lambda path: path.unlink(), "s.mseed: no such file"),
    "a folder": ("acoustic", turn_into_folder, "a.wav: no such file"),
    "sound cut off": ("acoustic", cut_off, "a.wav: the file is cut off"),
    "no sound": ("acoustic", lambda path: path.write_text("no sound"), "a.wav: cannot be decoded"),
    "seismogram cut off": ("seismic", cut_off, "s.mseed: "),
    "no seismogram": ("seismic", lambda path: path.write_bytes(b""), "s.mseed: "),
    "a rate that changes": ("seismic", change_rate, "s.mseed: its rate changes"),
    "other channels": ("acoustic", lambda path: write_sound(path, channels=2), "a.wav: has 2 channels"),
}


@pytest.mark.parametrize("name", ["classify", "stream"])
@pytest.mark.parametrize("fault", SOURCES)
def test_a_source_that_cannot_be_used(name: str, fault: str, tmp_path: Path) -> None:
    files = {"acoustic": write_sound(tmp_path / "a.wav"), "seismic": write_ground(tmp_path / "s.mseed")}
    modality, damage, words = SOURCES[fault]
    damage(files[modality])
    sources = [part for m, file in files.items() for part in ("--source", f"{m}={file}")]
    done = run(name, make_bundle(tmp_path / "bundle"), *sources, "--json")
    assert words in done.error
    assert done.err.count("\n") == 1
