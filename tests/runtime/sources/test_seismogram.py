"""miniSEED as streams: the right channel, its gaps, its clock; a damaged file is one line before it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import MAGNETIC, SEISMIC
from recorded import EPOCH_S, counts, write_mseed

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.seismogram import read_seismogram
from rep_edge.signals import Stream

DATA = Path(os.environ.get("REP_EDGE_DATA", "/nonexistent"))


def test_every_sample(tmp_path: Path) -> None:
    x = counts(1234)
    recording = read_seismogram(write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, x)]), SEISMIC)
    pieces = list(recording.pieces())
    np.testing.assert_array_equal(np.concatenate([p.values for p in pieces], axis=1), x[None].astype(np.float32))
    assert [p.start_s for p in pieces] == [pytest.approx(EPOCH_S + i / 10) for i in range(124)]
    assert (recording.begin_s, recording.absolute) == (EPOCH_S, True)
    assert recording.length_s == pytest.approx(12.34, abs=1e-6)
    assert recording.note == "100 Hz, channel AM.R24FA.00.EHZ"


def test_the_vertical_geophone_of_several_channels(tmp_path: Path) -> None:
    traces = [(code, 0.0, counts(300, seed)) for seed, code in enumerate(("ENE", "EHZ", "ENN"))]
    path = write_mseed(tmp_path / "s.ms", traces)
    recording = read_seismogram(path, SEISMIC)
    np.testing.assert_array_equal(next(recording.pieces()).values[0], traces[1][2][:10])
    assert recording.note == "100 Hz, channel AM.R24FA.00.EHZ (not AM.R24FA.00.ENE, AM.R24FA.00.ENN)"
    np.testing.assert_array_equal(next(read_seismogram(path, SEISMIC, "ENN").pieces()).values[0], traces[2][2][:10])
    with pytest.raises(InputError, match=r"has no channel HHZ to take alone; it has AM\.R24FA\.00\.EHZ, AM"):
        read_seismogram(path, SEISMIC, "HHZ")


def test_one_code_at_two_stations(tmp_path: Path) -> None:
    traces = [(f"AM_{station}_00_E_H_Z", 0.0, counts(300)) for station in ("ONE", "TWO")]
    path = write_mseed(tmp_path / "s.mseed", traces)
    with pytest.raises(InputError, match=r"name one: s\.mseed\?channel=EHZ") as caught:
        read_seismogram(path, SEISMIC)
    assert "AM.ONE.00.EHZ, AM.TWO.00.EHZ" in str(caught.value)
    with pytest.raises(InputError, match="has 2 channels called EHZ"):
        read_seismogram(path, SEISMIC, "EHZ")
    assert read_seismogram(path, SEISMIC, "TWO.00.EHZ").note.startswith("100 Hz, channel AM.TWO.00.EHZ")


def test_as_many_channels_as_the_modality(tmp_path: Path) -> None:
    axes = {code: counts(500, seed) for seed, code in enumerate(("BF1", "BF3", "BF2"))}
    path = write_mseed(tmp_path / "s.mseed", [(code, 0.0, x) for code, x in axes.items()], rate_hz=50)
    recording = read_seismogram(path, MAGNETIC)
    values = np.concatenate([p.values for p in recording.pieces()], axis=1)
    np.testing.assert_array_equal(values, [axes["BF1"], axes["BF2"], axes["BF3"]])
    late = [(code, 0.0 if code != "BF2" else 1.0, x) for code, x in axes.items()]
    with pytest.raises(InputError, match="do not start and stop together"):
        read_seismogram(write_mseed(tmp_path / "t.mseed", late, rate_hz=50), MAGNETIC)
    torn = [("BF1", 0.0, axes["BF1"]), ("BF2", 0.0, axes["BF2"]), ("BF3", 0.0, axes["BF3"]), ("BF3", 60.0, axes["BF3"])]
    with pytest.raises(InputError, match="do not have the same gaps"):
        read_seismogram(write_mseed(tmp_path / "u.mseed", torn, rate_hz=50), MAGNETIC)


def test_gaps_stay_gaps(tmp_path: Path) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 5.0, counts(200)), ("EHZ", 0.0, counts(300))])
    recording = read_seismogram(path, SEISMIC)
    assert recording.note == "100 Hz, channel AM.R24FA.00.EHZ, 1 gap of 2.0 s together"
    assert (recording.begin_s, recording.length_s) == (EPOCH_S, pytest.approx(7.0))
    starts = [p.start_s - EPOCH_S for p in recording.pieces()]
    np.testing.assert_allclose(starts, [*np.arange(0, 3, 0.1), *np.arange(5, 7, 0.1)], atol=1e-6)


def test_another_rate_is_resampled_and_told(tmp_path: Path) -> None:
    t = np.arange(2000) / 200
    x = (1000 * np.sin(2 * np.pi * 5 * t)).astype(np.float32)
    recording = read_seismogram(write_mseed(tmp_path / "s.mseed", [("SHZ", 0.0, x)], rate_hz=200), SEISMIC)
    values = np.concatenate([p.values for p in recording.pieces()], axis=1)[0]
    assert recording.note == "200 Hz, channel AM.R24FA.00.SHZ, resampled to 100 Hz"
    np.testing.assert_allclose(values[100:900], x[200:1800:2], atol=3)


def test_a_rate_as_it_was_measured_is_the_same_rate(tmp_path: Path) -> None:
    recording = read_seismogram(write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(500))], 100.001), SEISMIC)
    assert "resampled" not in recording.note


def test_a_rate_that_changes(tmp_path: Path) -> None:
    path, other = tmp_path / "s.mseed", tmp_path / "t.mseed"
    write_mseed(path, [("EHZ", 0.0, counts(500))])
    write_mseed(other, [("EHZ", 60.0, counts(500))], rate_hz=50)
    path.write_bytes(path.read_bytes() + other.read_bytes())
    with pytest.raises(InputError, match="its rate changes from 50 to 100 Hz"):
        read_seismogram(path, SEISMIC)


def test_a_clock_that_was_set(tmp_path: Path) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(500)), ("EHZ", 40 * 86400.0, counts(500))])
    with pytest.raises(InputError, match="time leaps by 40 days"):
        read_seismogram(path, SEISMIC)


@pytest.mark.parametrize("lost", [1, 20, 60, 300, 511])
def test_a_file_cut_off_inside_a_record(tmp_path: Path, lost: int) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(3000))])
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(InputError, match=r"s\.mseed: (cannot be decoded|the file is cut off)") as caught:
        read_seismogram(path, SEISMIC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no seismogram" * 100, bytes(4096)])
def test_what_is_no_miniseed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.mseed"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.mseed: (cannot be decoded|the file holds no samples)"):
        read_seismogram(path, SEISMIC)


def test_damage_inside_a_record(tmp_path: Path) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(3000))])
    content = bytearray(path.read_bytes())
    content[600:900] = b"\x7f" * 300
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.mseed: cannot be decoded"):
        read_seismogram(path, SEISMIC)


@pytest.mark.parametrize("package", ["pymseed", "soxr"])
def test_a_missing_package_is_named(tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(500))], rate_hz=250)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: run  pip install \"rep-edge\[sensors\]"):
        read_seismogram(path, SEISMIC)


@pytest.mark.skipif(not DATA.is_dir(), reason="REP_EDGE_DATA names no folder")
def test_a_raspberry_shake() -> None:
    geophone = Stream(name="seismic", rate_hz=100, samples=200)
    recording = read_seismogram(DATA / "rsudp_shake4d_100hz.ms", geophone)
    assert recording.note.startswith("100 Hz, channel AM.R24FA.00.EHZ (not ")
    values = np.concatenate([p.values for p in recording.pieces()], axis=1)
    assert values.shape == (1, 11001)
    obspy = pytest.importorskip("obspy")
    trace = obspy.read(str(DATA / "rsudp_shake4d_100hz.ms")).select(channel="EHZ")[0]
    np.testing.assert_array_equal(values[0], trace.data.astype(np.float32))
    assert recording.begin_s == pytest.approx(trace.stats.starttime.timestamp)
