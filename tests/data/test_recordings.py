"""A folder of recordings becomes windows; every way the folder can be wrong gives one clear line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from rep_edge.config import RecordingsData
from rep_edge.data.recordings import RecordingsDataset
from rep_edge.data.waveform import Waveform, rational_ratio, resampled, window_starts
from rep_edge.errors import InputError, MissingExtraError
from rep_edge.signals import Stream, WindowSpec

obspy = pytest.importorskip("obspy")

SPEC = WindowSpec(
    modalities=(
        Stream(name="acoustic", rate_hz=8000, samples=8000),
        Stream(name="seismic", rate_hz=100, samples=100),
    ),
    hop_s=0.5,
)


def tone(rate_hz: float, seconds: float, frequency: float = 5.0) -> NDArray[np.float64]:
    times: NDArray[np.float64] = np.arange(round(rate_hz * seconds)) / rate_hz
    return 0.5 * np.sin(2 * np.pi * frequency * times)


def write_audio(path: Path, samples: NDArray[np.float64], rate: int = 8000, subtype: str = "FLOAT") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)


def write_seismogram(
    path: Path, channels: dict[str, list[tuple[float, NDArray[np.float64]]]], rate: float = 100
) -> None:
    """Channel code -> pieces (start in s, samples)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = obspy.Stream()
    for code, pieces in channels.items():
        for start, samples in pieces:
            header = {"network": "XX", "station": "TEST", "channel": code, "sampling_rate": rate}
            header["starttime"] = obspy.UTCDateTime(2024, 1, 1) + start
            stream.append(obspy.Trace(np.asarray(samples, dtype=np.float32), header=header))
    stream.write(str(path), format="MSEED", reclen=512)


def write_labels(root: Path, *lines: str, header: str = "recording,start,end,label") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.csv").write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")


def folder(root: Path, recordings: tuple[str, ...] = ("one", "two"), seconds: float = 4.0) -> Path:
    """A sound folder: `one` is a car, `two` a walk."""
    for name in recordings:
        write_audio(root / "acoustic" / f"{name}.wav", tone(8000, seconds))
        write_seismogram(root / "seismic" / f"{name}.mseed", {"EHZ": [(0.0, 1000 * tone(100, seconds))]})
    write_labels(root, "one,0,4,car", "two,0,4,walk")
    return root


def load(root: Path, spec: WindowSpec = SPEC) -> RecordingsDataset:
    return RecordingsDataset(RecordingsData(root=str(root)), spec)


def refusal(root: Path, spec: WindowSpec = SPEC) -> str:
    with pytest.raises(InputError) as caught:
        load(root, spec)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_windows_lie_inside_their_intervals(tmp_path: Path) -> None:
    root = folder(tmp_path)
    write_labels(root, "one,0.25,2.3,car", "two,0,2,walk", "two,2,,car")
    dataset = load(root)
    cuts = [(dataset[i].recording, dataset[i].start_s, dataset.labels[dataset[i].target]) for i in range(len(dataset))]
    assert cuts == [
        *[("one", s, "car") for s in (0.25, 0.75, 1.25)],
        *[("two", s, "walk") for s in (0.0, 0.5, 1.0)],
        *[("two", s, "car") for s in (2.0, 2.5, 3.0)],
    ]
    assert dataset.labels == ("car", "walk")
    assert dataset.targets.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert dataset.recordings == ("one",) * 3 + ("two",) * 6
    assert dataset.report == ("9 windows from 2 recordings: car 6, walk 3",)


def test_values_are_the_samples_of_the_file(tmp_path: Path) -> None:
    root = folder(tmp_path)
    window = load(root)[1]
    assert {name: (v.shape, v.dtype.name) for name, v in window.values.items()} == {
        "acoustic": ((1, 8000), "float32"),
        "seismic": ((1, 100), "float32"),
    }
    np.testing.assert_allclose(window.values["acoustic"][0], tone(8000, 4)[4000:12000], atol=1e-7)
    np.testing.assert_allclose(window.values["seismic"][0], 1000 * tone(100, 4)[50:150], rtol=1e-6, atol=1e-3)
    window.values["acoustic"][:] = 0
    assert load(root)[1].values["acoustic"].any()


def test_one_recording_needs_no_column(tmp_path: Path) -> None:
    root = folder(tmp_path, recordings=("only",))
    write_labels(root, "0,2,car", "2,4,walk", header="start,end,label")
    assert set(load(root).recordings) == {"only"}


def test_three_modalities_and_flac(tmp_path: Path) -> None:
    modalities = tuple(Stream(name=name, rate_hz=1000, samples=500, channels=2) for name in ("a", "b", "c"))
    for name in ("a", "b", "c"):
        stereo = np.stack([tone(1000, 2), -tone(1000, 2)], axis=1)
        write_audio(tmp_path / name / "r.flac", stereo, 1000, "PCM_16")
    write_labels(tmp_path, "r,0,2,x")
    dataset = load(tmp_path, WindowSpec(modalities=modalities, hop_s=0.5))
    assert len(dataset) == 4
    np.testing.assert_allclose(dataset[0].values["c"][0], -dataset[0].values["c"][1], atol=1e-4)


@pytest.mark.parametrize("rate", [44100, 48000, 11025, 4000])
def test_resampling_keeps_frequency_and_time(tmp_path: Path, rate: int) -> None:
    root = folder(tmp_path)
    for name in ("one", "two"):
        write_audio(root / "acoustic" / f"{name}.wav", tone(rate, 4, 440), rate)
    dataset = load(root)
    assert f"acoustic: 2 files resampled from {rate} Hz to 8000 Hz" in dataset.report
    # In the middle of the recording: a window from 1 s, equal to the same tone sampled at 8 kHz, phase and all.
    np.testing.assert_allclose(dataset[2].values["acoustic"][0], tone(8000, 4, 440)[8000:16000], atol=1e-3)


def test_resampling_keeps_an_offset_up_to_the_ends() -> None:
    counts = Waveform(np.full((1, 1001), 16000.0, dtype=np.float32), 333.0)
    np.testing.assert_allclose(resampled(counts, 100.0).samples, 16000.0, rtol=1e-6)


def test_resampling_in_blocks_has_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Waveform(np.random.default_rng(0).standard_normal((2, 4410), dtype=np.float32), 441.0)
    whole = resampled(noise, 80.0).samples
    monkeypatch.setattr("rep_edge.data.waveform.BLOCK_S", 1.0)
    np.testing.assert_allclose(resampled(noise, 80.0).samples, whole, atol=1e-5)
    assert whole.shape == (2, 800)


def test_ratio_of_rates_that_are_not_whole() -> None:
    assert rational_ratio(1000 / 3, 100.0).limit_denominator() == rational_ratio(10.0, 3.0)
    assert rational_ratio(44100.0, 8000.0).denominator == 441


def test_windows_that_touch_a_gap_are_left_out(tmp_path: Path) -> None:
    root = folder(tmp_path)
    pieces = [(0.0, tone(100, 2)), (2.5, tone(100, 1.5))]
    write_seismogram(root / "seismic" / "one.mseed", {"EHZ": pieces})
    dataset = load(root)
    starts = [dataset[i].start_s for i in range(len(dataset)) if dataset.recordings[i] == "one"]
    assert starts == [0.0, 0.5, 1.0, 2.5, 3.0]
    path = root / "seismic" / "one.mseed"
    assert f"{path}: 1 gap of 0.50 s in all, the first at 2.00 s" in dataset.report
    assert "2 windows left out: a gap in seismic" in dataset.report


def test_a_gap_reaches_further_after_resampling(tmp_path: Path) -> None:
    root = folder(tmp_path)
    for name in ("one", "two"):
        pieces = [(0.0, tone(200, 2)), (2.5, tone(200, 1.5))]
        write_seismogram(root / "seismic" / f"{name}.mseed", {"EHZ": pieces}, rate=200)
    starts = [load(root)[i].start_s for i in range(len(load(root)))]
    assert starts == [0.0, 0.5, 3.0, 0.0, 0.5, 3.0]


def test_the_vertical_channel_of_several(tmp_path: Path) -> None:
    root = folder(tmp_path)
    channels = {code: [(0.0, factor * tone(100, 4))] for code, factor in (("ENE", 1), ("EHZ", 7), ("ENZ", 3))}
    write_seismogram(root / "seismic" / "one.mseed", channels)
    np.testing.assert_allclose(load(root)[0].values["seismic"][0], 7 * tone(100, 1), rtol=1e-5, atol=1e-5)


def test_channels_that_start_apart_share_the_time_of_the_first(tmp_path: Path) -> None:
    root = folder(tmp_path)
    spec = WindowSpec(modalities=(Stream(name="seismic", rate_hz=100, samples=100, channels=2),), hop_s=0.5)
    for name in ("one", "two"):
        channels = {"EHN": [(1.0, tone(100, 3))], "EHE": [(0.0, 2 * tone(100, 4))]}
        write_seismogram(root / "seismic" / f"{name}.mseed", channels)
    dataset = load(root, spec)
    assert dataset[0].start_s == 1.0
    np.testing.assert_allclose(dataset[0].values["seismic"][1], tone(100, 1), atol=1e-5)
    np.testing.assert_allclose(dataset[0].values["seismic"][0], 2 * tone(100, 4)[100:200], atol=1e-5)


def test_what_has_no_label_is_reported(tmp_path: Path) -> None:
    root = folder(tmp_path, recordings=("one", "two", "three"))
    write_labels(root, "one,0,4,car", "two,0,0.5,car", "two,1,4,walk")
    (root / "acoustic" / "notes.txt").write_text("wind")
    report = load(root).report
    assert "1 recording without a label left out: three" in report
    assert "1 interval is shorter than a window (1 s)" in report


def test_header_rate_of_a_rate_that_is_not_whole(tmp_path: Path) -> None:
    spec = WindowSpec(modalities=(Stream(name="vibration", rate_hz=1000 / 3, samples=667),), hop_s=1.0)
    write_audio(tmp_path / "vibration" / "r.wav", tone(1000 / 3, 6), 333)
    write_labels(tmp_path, "r,0,6,x")
    dataset = load(tmp_path, spec)
    assert dataset.report[0] == "vibration: 1 file marked 333 Hz taken as 333.333 Hz"
    np.testing.assert_allclose(dataset[0].values["vibration"][0], tone(1000 / 3, 6)[:667], atol=1e-6)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("one,abc,4,car", r"labels\.csv: line 2, start: 'abc' is no time"),
        ("one,0,nan,car", r"line 2, end: 'nan' is no time"),
        ("one,-1,2,car", r"line 2, start: '-1' is no time"),
        ("one,2,2,car", r"line 2: start 2 is not before end 2"),
        ("one,3,1,car", r"line 2: start 3 is not before end 1"),
        ("one,0,4,", r"line 2, label: is empty"),
        (",0,4,car", r"line 2, recording: is empty"),
        ("one,0,4", r"line 2 has 3 fields"),
        ("one,0,4.5,car", r"line 2, end: 4\.5 s is after the end of recording one, whose \w+ file lasts 4\.000 s"),
        ("one,9,,car", r"line 2, start: 9 s is after the end of recording one"),
        ("three,0,4,car", r"acoustic: recording three \(line 2 of labels\.csv\) has no file"),
        ("one.wav,0,4,car", r"line 2, recording: write one, the name without \.wav"),
        ("two,1,2,car", r"lines 3 and 2 overlap in recording two \(walk and car\)"),
        ("one,0,0.5,car", r"class 'car' has no window"),
    ],
)
def test_bad_labels(tmp_path: Path, line: str, words: str) -> None:
    root = folder(tmp_path)
    write_labels(root, line, "two,0,4,walk")
    assert re.search(words, refusal(root))


def test_bad_label_files(tmp_path: Path) -> None:
    root = folder(tmp_path)
    write_labels(root, "one,0,4,car", header="file,from,to,class")
    assert "the header is 'file,from,to,class'" in refusal(root)
    write_labels(root, "0,4,car", header="start,end,label")
    assert "has no column recording, and there are 2 recordings" in refusal(root)
    write_labels(root)
    assert "labels nothing" in refusal(root)
    (root / "labels.csv").write_bytes(b"\xff\xfe\x00x")
    assert "is no CSV text in UTF-8" in refusal(root)
    (root / "labels.csv").unlink()
    assert "labels.csv: there is no such file" in refusal(root)


def test_missing_folders_and_files(tmp_path: Path) -> None:
    assert "nowhere: there is no such folder" in refusal(tmp_path / "nowhere")
    root = folder(tmp_path / "data")
    (root / "seismic" / "two.mseed").unlink()
    assert "recording two (line 3 of labels.csv) has no seismic file; training needs every modality" in refusal(root)
    (root / "seismic" / "one.mseed").unlink()
    assert "seismic: is empty" in refusal(root)
    (root / "seismic").rmdir()
    assert "seismic: there is no such folder" in refusal(root)


def test_two_files_of_one_recording(tmp_path: Path) -> None:
    root = folder(tmp_path)
    write_audio(root / "acoustic" / "one.flac", tone(8000, 4), subtype="PCM_16")
    assert "is the same recording" in refusal(root)


def test_unsupported_kind(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "acoustic" / "one.wav").rename(root / "acoustic" / "one.mp3")
    assert "one.mp3: files of kind .mp3 are not read; use .wav, .flac, .mseed" in refusal(root)


def test_other_channels(tmp_path: Path) -> None:
    root = folder(tmp_path)
    write_seismogram(root / "seismic" / "one.mseed", {"ENE": [(0.0, tone(100, 4))], "ENN": [(0.0, tone(100, 4))]})
    assert "has the channels XX.TEST..ENE, XX.TEST..ENN, modality seismic has 1" in refusal(root)
    write_audio(root / "acoustic" / "one.wav", np.stack([tone(8000, 4)] * 2, axis=1))
    write_seismogram(root / "seismic" / "one.mseed", {"EHZ": [(0.0, tone(100, 4))]})
    assert "one.wav: has 2 channels, modality acoustic has 1" in refusal(root)


@pytest.mark.parametrize("kind", ["wav", "flac"])
@pytest.mark.parametrize("keep", [0.0, 0.0005, 0.5, 0.99])
def test_damaged_audio(tmp_path: Path, kind: str, keep: float) -> None:
    root = folder(tmp_path)
    (root / "acoustic" / "one.wav").unlink()
    path = root / "acoustic" / f"one.{kind}"
    write_audio(path, np.random.default_rng(0).uniform(-0.5, 0.5, 32000), subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    assert re.search(rf"one\.{kind}: (cannot be decoded|the file is cut off|the file holds no samples)", refusal(root))


def test_noise_instead_of_audio(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "acoustic" / "one.wav").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "one.wav: cannot be decoded" in refusal(root)


def test_audio_without_samples(tmp_path: Path) -> None:
    root = folder(tmp_path)
    write_audio(root / "acoustic" / "one.wav", np.zeros(0))
    assert "one.wav: the file holds no samples" in refusal(root)


def test_a_header_written_into_a_pipe_is_no_cut(tmp_path: Path) -> None:
    root = folder(tmp_path)
    path = root / "acoustic" / "one.wav"
    write_audio(path, tone(8000, 4), subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[4:8] = b"\xff" * 4
    content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    assert len(load(root)) == 14


@pytest.mark.parametrize("keep", [0, 300, 1024 + 40, 1024 + 300])
def test_damaged_seismogram(tmp_path: Path, keep: int) -> None:
    root = folder(tmp_path)
    path = root / "seismic" / "one.mseed"
    path.write_bytes(path.read_bytes()[:keep])
    assert re.search(r"one\.mseed: (cannot be decoded|the file is cut off)", refusal(root))


def test_noise_instead_of_a_seismogram(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "seismic" / "one.mseed").write_bytes(np.random.default_rng(0).bytes(4096))
    assert "one.mseed: cannot be decoded" in refusal(root)


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    root = folder(tmp_path)
    broken = tone(8000, 4)
    broken[99] = np.nan
    write_audio(root / "acoustic" / "one.wav", broken)
    assert "one.wav: holds NaN or infinite samples" in refusal(root)
    write_audio(root / "acoustic" / "one.wav", tone(8000, 4))
    broken = tone(100, 4)
    broken[9] = np.inf
    write_seismogram(root / "seismic" / "one.mseed", {"EHZ": [(0.0, broken)]})
    assert "one.mseed: holds NaN or infinite samples" in refusal(root)


def test_a_rate_that_changes_inside_the_file(tmp_path: Path) -> None:
    root = folder(tmp_path)
    path = root / "seismic" / "one.mseed"
    write_seismogram(path, {"EHZ": [(0.0, tone(100, 2))]})
    first = path.read_bytes()
    write_seismogram(path, {"EHZ": [(2.0, tone(50, 2))]}, rate=50)
    path.write_bytes(first + path.read_bytes())
    assert "the rate changes inside the file (50 and 100 Hz)" in refusal(root)


def test_a_clock_that_was_set_while_recording(tmp_path: Path) -> None:
    root = folder(tmp_path)
    pieces = [(0.0, tone(100, 2)), (10 * 365 * 86400.0, tone(100, 2))]
    write_seismogram(root / "seismic" / "one.mseed", {"EHZ": pieces})
    assert "one.mseed: time leaps from 2024-01-01T00:00:01.99" in refusal(root)


@pytest.mark.parametrize(("module", "rate"), [("soundfile", 8000), ("obspy", 8000), ("torchaudio.functional", 16000)])
def test_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, rate: int
) -> None:
    root = folder(tmp_path)
    write_audio(root / "acoustic" / "one.wav", tone(rate, 4), rate)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"rep-edge\[train\]"):
        load(root)


def test_starts_of_windows() -> None:
    assert window_starts(0.1, 0.1 + 0.3, 0.1, 0.1) == pytest.approx([0.1, 0.2, 0.3])
    assert window_starts(0.0, 1.9, 2.0, 1.0) == []
    assert window_starts(0.0, 2.0, 2.0, 1.0) == [0.0]
