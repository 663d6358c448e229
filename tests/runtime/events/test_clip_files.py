"""What a clip's files hold, read back with other programs than wrote them."""

from __future__ import annotations

import io
import sys

import msgspec
import numpy as np
import obspy
import pytest
import soundfile
from bundles import ACOUSTIC, MAGNETIC, PAIR, SEISMIC, TRIPLE
from clipped import START_S, end_of, waveforms
from PIL import Image

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.events.clip_files import COLUMNS, ROWS, Clip, clip_files, flac, miniseed, require_writers
from rep_edge.signals import Stream

NAN = np.float32(np.nan)


def read_flac(content: bytes) -> tuple[np.ndarray, int]:
    values, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return values.T, rate_hz


def read_miniseed(content: bytes) -> obspy.Stream:
    return obspy.read(io.BytesIO(content), format="MSEED")


def test_a_clip_has_waveforms_pictures_and_a_record_of_them() -> None:
    made = waveforms()
    made["seismic"][:, 300:350] = NAN
    contents = clip_files(end_of("t1"), made, START_S, PAIR.modalities)
    assert list(contents) == ["acoustic.flac", "acoustic.png", "seismic.mseed", "seismic.png", "clip.json"]
    clip = msgspec.json.decode(contents["clip.json"], type=Clip)
    assert (clip.event, clip.start_s, clip.end_s) == (end_of("t1"), START_S, START_S + 8)
    assert clip.modalities == PAIR.modalities
    assert {name: (stream.file, stream.gaps) for name, stream in clip.streams.items()} == {
        "acoustic": ("acoustic.flac", ()),
        "seismic": ("seismic.mseed", ((3.0, 3.5),)),
    }
    assert Image.open(io.BytesIO(contents["seismic.png"])).size == (COLUMNS, ROWS)


def test_a_stream_that_was_silent_throughout_has_no_file() -> None:
    made = waveforms()
    made["seismic"][:] = NAN
    contents = clip_files(end_of("t1"), made, START_S, PAIR.modalities)
    assert list(contents) == ["acoustic.flac", "acoustic.png", "clip.json"]
    assert list(msgspec.json.decode(contents["clip.json"], type=Clip).streams) == ["acoustic"]


def test_a_clip_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="clip t1: no stream has a sample of it"):
        clip_files(end_of("t1"), {"acoustic": np.full((1, 800), NAN)}, START_S, PAIR.modalities)


def test_sound_loses_nothing_that_24_bits_can_hold() -> None:
    values = waveforms()["acoustic"]
    back, rate_hz = read_flac(flac(values, ACOUSTIC))
    assert rate_hz == 800
    assert np.abs(back - values).max() <= 2.0**-23


def test_sound_above_full_scale_is_clipped_and_gaps_are_zeros() -> None:
    values = np.array([[0.5, 3.0, -7.0, NAN, np.inf]], dtype=np.float32)
    back, _ = read_flac(flac(values, ACOUSTIC))
    np.testing.assert_allclose(back, [[0.5, 1.0, -1.0, 0.0, 0.0]], atol=2.0**-22)


def test_whole_numbers_stay_whole_numbers() -> None:
    values = waveforms()["seismic"]
    (trace,) = read_miniseed(miniseed(values, SEISMIC, START_S, "north-gate"))
    assert trace.stats.mseed.encoding == "STEIM2"
    np.testing.assert_array_equal(trace.data, values[0].astype(np.int32))
    assert (trace.id, trace.stats.sampling_rate) == ("XX.NORTH..EY1", 100.0)
    assert abs(trace.stats.starttime.timestamp - START_S) < 1e-6


@pytest.mark.parametrize("values", [[0.25, -1e-9], [3e9, 0.0]], ids=["fractions", "beyond Steim-2"])
def test_other_numbers_stay_float32(values: list[float]) -> None:
    (trace,) = read_miniseed(miniseed(np.array([values], dtype=np.float32), SEISMIC, START_S, "yard"))
    assert trace.data.dtype.kind == "f"
    np.testing.assert_array_equal(trace.data, np.array(values, dtype=np.float32))


def test_gaps_are_left_out_and_what_follows_keeps_its_time() -> None:
    values = waveforms()["seismic"]
    values[:, :10] = values[:, 300:301] = NAN
    first, second = read_miniseed(miniseed(values, SEISMIC, START_S, "yard"))
    assert [trace.stats.npts for trace in (first, second)] == [290, 499]
    assert abs(first.stats.starttime.timestamp - (START_S + 0.1)) < 1e-4
    assert abs(second.stats.starttime.timestamp - (START_S + 3.01)) < 1e-4


def test_channels_are_sorted_as_they_were_and_a_gap_in_one_is_a_gap_in_all() -> None:
    values = waveforms(spec=TRIPLE)["magnetic"]
    values[1, 100:] = NAN
    stream = read_miniseed(miniseed(values, MAGNETIC, START_S, "!"))
    assert [trace.id for trace in stream] == ["XX.NODE..SY1", "XX.NODE..SY2", "XX.NODE..SY3"]
    for trace, channel in zip(stream, values, strict=True):
        np.testing.assert_array_equal(trace.data, channel[:100])


def test_rates_that_are_not_whole_are_kept_in_miniseed() -> None:
    slow = Stream(name="slow", rate_hz=333.33, samples=333, unit="full scale")
    contents = clip_files(end_of("t1"), {"slow": np.full((1, 400), 0.5, np.float32)}, START_S, [slow])
    (trace,) = read_miniseed(contents["slow.mseed"])
    assert trace.stats.sampling_rate == pytest.approx(333.33, rel=1e-6)


def test_more_channels_than_codes_are_refused() -> None:
    many = Stream(name="many", rate_hz=10, samples=10, channels=40)
    with pytest.raises(InputError, match="many: a clip has 35 channels at most, not 40"):
        miniseed(np.zeros((40, 10), np.float32), many, START_S, "yard")


@pytest.mark.parametrize("package", ["soundfile", "pymseed", "PIL"])
def test_a_missing_package_is_told_before_anything_is_recorded(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match="pillow" if package == "PIL" else package):
        require_writers(PAIR.modalities)


def test_only_what_is_needed_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymseed", None)
    require_writers([ACOUSTIC])
