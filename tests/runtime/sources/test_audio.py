"""WAV and FLAC as streams: every sample once, at the model's rate; a damaged file is one line before it starts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bundles import ACOUSTIC, MAGNETIC
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.audio import read_audio
from rep_edge.runtime.sources.recording import Recording
from rep_edge.signals import Stream


def write(path: Path, values: NDArray[np.float32], rate_hz: int = 800) -> Path:
    soundfile.write(path, values.T, rate_hz, subtype="PCM_16")
    return path


def tone(seconds: float, rate_hz: int, hz: float = 100.0, channels: int = 1) -> NDArray[np.float32]:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.tile(0.5 * np.sin(2 * np.pi * hz * t), (channels, 1)).astype(np.float32)


def whole(recording: Recording, modality: Stream) -> NDArray[np.float32]:
    """All pieces in one, after seeing that each follows on the one before."""
    pieces = list(recording.pieces())
    at = 0
    for piece in pieces:
        assert piece.start_s == pytest.approx(at / modality.rate_hz, abs=1e-9)
        assert piece.values.dtype == np.float32
        assert 0 < piece.values.shape[1] <= 0.1 * modality.rate_hz
        at += piece.values.shape[1]
    return np.concatenate([piece.values for piece in pieces], axis=1)


@pytest.mark.parametrize("kind", ["wav", "flac", "WAV"])
def test_every_sample(tmp_path: Path, kind: str) -> None:
    x = tone(2.53, 800)
    recording = read_audio(write(tmp_path / f"a.{kind}", x), ACOUSTIC)
    np.testing.assert_allclose(whole(recording, ACOUSTIC), x, atol=4e-5)
    assert (recording.begin_s, recording.length_s, recording.absolute) == (0.0, 2.53, False)
    assert recording.note == "800 Hz"
    np.testing.assert_array_equal(whole(recording, ACOUSTIC), whole(recording, ACOUSTIC))


@pytest.mark.parametrize("rate_hz", [44100, 1000, 500])
def test_another_rate_is_resampled_and_told(tmp_path: Path, rate_hz: int) -> None:
    recording = read_audio(write(tmp_path / "a.wav", tone(3, rate_hz), rate_hz), ACOUSTIC)
    x = whole(recording, ACOUSTIC)
    assert recording.note == f"{rate_hz} Hz, resampled to 800 Hz"
    assert abs(x.shape[1] - 2400) <= 1
    np.testing.assert_allclose(x[:, 200:2200], tone(3, 800)[:, 200:2200], atol=2e-3)


def test_a_rate_that_is_not_whole(tmp_path: Path) -> None:
    odd = Stream(name="vibration", rate_hz=1000 / 3, samples=667)
    recording = read_audio(write(tmp_path / "a.wav", tone(3, 333, hz=20), 333), odd)
    assert (recording.note, recording.length_s) == ("333 Hz", pytest.approx(2.997))
    assert whole(recording, odd).shape == (1, 999)


def test_channels(tmp_path: Path) -> None:
    x = np.concatenate([tone(1, 800), -tone(1, 800), 0.5 * tone(1, 800)])
    path = write(tmp_path / "a.wav", x)
    with pytest.raises(InputError, match=r"has 3 channels, acoustic has 1; take one of them: a\.wav\?channel=1"):
        read_audio(path, ACOUSTIC)
    recording = read_audio(path, ACOUSTIC, "2")
    np.testing.assert_allclose(whole(recording, ACOUSTIC), x[1:2], atol=4e-5)
    assert recording.note == "800 Hz, channel 2 of 3"
    for channel in ("0", "4", "left"):
        with pytest.raises(InputError, match=f"channel {channel} is none; it has 3"):
            read_audio(path, ACOUSTIC, channel)
    three = read_audio(write(tmp_path / "b.wav", x[:, :50], 50), MAGNETIC)
    assert whole(three, MAGNETIC).shape == (3, 50)
    with pytest.raises(InputError, match="has 1 channels, magnetic has 3"):
        read_audio(write(tmp_path / "c.wav", x[:1]), MAGNETIC)


@pytest.mark.parametrize("kind", ["wav", "flac"])
@pytest.mark.parametrize("keep", [0.95, 0.5, 0.02])
def test_a_file_cut_off(tmp_path: Path, kind: str, keep: float) -> None:
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 80000)).astype(np.float32)
    path = write(tmp_path / f"a.{kind}", x)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=rf"a\.{kind}: (the file is cut off|cannot be decoded)") as caught:
        read_audio(path, ACOUSTIC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no sound", b"RIFF", bytes(1000)])
def test_what_is_no_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.wav: (the file is cut off|cannot be decoded)"):
        read_audio(path, ACOUSTIC)


def test_no_samples(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no samples"):
        read_audio(write(tmp_path / "a.wav", np.zeros((1, 0), np.float32)), ACOUSTIC)


@pytest.mark.parametrize("package", ["soundfile", "soxr"])
def test_a_missing_package_is_named(tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.wav", tone(1, 1000), 1000)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: run  pip install \"rep-edge\[sensors\]"):
        read_audio(path, ACOUSTIC)
