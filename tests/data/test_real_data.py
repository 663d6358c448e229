"""Measured recordings load through the recordings source. They lie in the folder that REP_EDGE_DATA names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rep_edge.config import RecordingsData
from rep_edge.data.recordings import RecordingsDataset
from rep_edge.signals import Stream, WindowSpec

DATA = Path(os.environ.get("REP_EDGE_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="REP_EDGE_DATA names no folder")


def load(root: Path, modality: Stream, hop_s: float) -> RecordingsDataset:
    return RecordingsDataset(RecordingsData(root=str(root)), WindowSpec(modalities=(modality,), hop_s=hop_s))


def write(root: Path, modality: str, stored: str, keep: int) -> tuple[list[str], np.lib.npyio.NpzFile]:
    """Every `keep`-th recording of an .npz of whole numbers as WAV files, and labels.csv; returns the recordings."""
    content = np.load(DATA / stored)
    (root / modality).mkdir(parents=True)
    lines = ["recording,start,end,label"]
    names = []
    for values, label, name in list(zip(content["x"], content["y"], content["name"], strict=True))[::keep]:
        stem = str(name).rsplit(".", 1)[0]
        soundfile.write(root / modality / f"{stem}.wav", values, int(content["fs"]), subtype="PCM_16")
        lines.append(f"{stem},0,,{content['class_names'][label]}")
        names.append(stem)
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return names, content


def test_drones(tmp_path: Path) -> None:
    names, content = write(tmp_path, "acoustic", "drone_audio_8k.npz", keep=10)
    dataset = load(tmp_path, Stream(name="acoustic", rate_hz=8000, samples=16000), hop_s=2.0)
    assert dataset.labels == ("BACKGROUND", "DRONE", "HELICOPTER")
    assert np.bincount(dataset.targets).tolist() == [15, 15, 15]
    assert list(dict.fromkeys(dataset.recordings)) == names
    np.testing.assert_array_equal(dataset[1].values["acoustic"][0] * 32768, content["x"][0][16000:32000])


def test_vibration_of_three_axes_at_a_rate_that_is_not_whole(tmp_path: Path) -> None:
    names, content = write(tmp_path, "vibration", "treeguard_vib_333hz.npz", keep=1)
    dataset = load(tmp_path, Stream(name="vibration", rate_hz=1000 / 3, samples=667, channels=3), hop_s=2.001)
    assert len(dataset) == 5 * len(names)
    assert dataset.labels == ("chainsaw", "machete", "non_event")
    assert dataset[0].values["vibration"].shape == (3, 667)
    np.testing.assert_array_equal(dataset[0].values["vibration"].T * 32768, content["x"][0][:667])
    assert dataset[1].start_s == pytest.approx(2.001)
    np.testing.assert_array_equal(dataset[1].values["vibration"].T * 32768, content["x"][0][667:1334])


def test_vibration_at_another_rate(tmp_path: Path) -> None:
    write(tmp_path, "vibration", "treeguard_vib_333hz.npz", keep=4)
    dataset = load(tmp_path, Stream(name="vibration", rate_hz=100, samples=200, channels=3), hop_s=1.0)
    assert "vibration: 10 files resampled from 333 Hz to 100 Hz" in dataset.report
    assert dataset[0].values["vibration"].shape == (3, 200)


def test_raspberry_shake(tmp_path: Path) -> None:
    (tmp_path / "seismic").mkdir()
    shutil.copyfile(DATA / "rsudp_shake4d_100hz.ms", tmp_path / "seismic" / "shake.ms")
    (tmp_path / "labels.csv").write_text("start,end,label\n0,60,first\n60,110,second\n", encoding="utf-8")
    dataset = load(tmp_path, Stream(name="seismic", rate_hz=100, samples=200), hop_s=1.0)
    assert dataset.report == ("108 windows from 1 recording: first 59, second 49",)
    obspy = pytest.importorskip("obspy")
    trace = obspy.read(str(DATA / "rsudp_shake4d_100hz.ms")).select(channel="EHZ")[0]
    np.testing.assert_array_equal(dataset[59].values["seismic"][0], trace.data[6000:6200].astype(np.float32))


def test_all_channels_of_the_raspberry_shake(tmp_path: Path) -> None:
    (tmp_path / "seismic").mkdir()
    shutil.copyfile(DATA / "rsudp_shake4d_100hz.ms", tmp_path / "seismic" / "shake.ms")
    (tmp_path / "labels.csv").write_text("start,end,label\n0,,any\n", encoding="utf-8")
    dataset = load(tmp_path, Stream(name="seismic", rate_hz=100, samples=200, channels=4), hop_s=2.0)
    obspy = pytest.importorskip("obspy")
    stream = obspy.read(str(DATA / "rsudp_shake4d_100hz.ms"))
    for row, code in enumerate(("EHZ", "ENE", "ENN", "ENZ")):
        trace = stream.select(channel=code)[0]
        np.testing.assert_array_equal(dataset[3].values["seismic"][row], trace.data[600:800].astype(np.float32))
