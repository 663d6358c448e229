"""The sound of a camera: the real ffmpeg reads a real RTSP stream, and what goes wrong is told without the password."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from bundles import ACOUSTIC, MAGNETIC
from rtsp_server import RtspServer

from rep_edge.errors import InputError
from rep_edge.runtime.sources import rtsp
from rep_edge.runtime.sources.live import Chunk, SourceError
from rep_edge.runtime.sources.rtsp import RtspSource
from rep_edge.signals import Stream

RATE_HZ = 8000
SOUND = Stream(name="acoustic", rate_hz=RATE_HZ, samples=RATE_HZ, unit="full scale")

ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.round(10000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


@ffmpeg
def test_a_camera_is_heard_until_it_ends() -> None:
    sent = tone(2)
    with RtspServer(sent, RATE_HZ) as server:
        source = RtspSource(SOUND, f"rtsp://ann:s3cret@127.0.0.1:{server.port}/live?channel=1")
        made: list[Chunk] = []
        with pytest.raises(SourceError, match=rf"rtsp://ann:\*\*\*@127.0.0.1:{server.port}/live\?channel=1: "):
            made.extend(source.chunks(threading.Event()))
    heard = np.concatenate([chunk.values for chunk in made], axis=1)[0]
    # The last packets are lost with the connection.
    assert heard.size >= 0.9 * sent.size
    np.testing.assert_allclose(heard, sent[: heard.size] / 32768, atol=1e-6)
    # What waits in a buffer for long would come late.
    assert len(made) > 5
    for one, following in itertools.pairwise(made):
        assert following.start_s == pytest.approx(one.start_s + one.values.shape[1] / RATE_HZ)


@ffmpeg
def test_ffmpeg_converts_rate_and_channels() -> None:
    with RtspServer(tone(2), RATE_HZ, ends=False) as server:
        chunks = RtspSource(MAGNETIC, f"rtsp://127.0.0.1:{server.port}/").chunks(threading.Event())
        chunk = next(chunks)
        chunks.close()  # type: ignore[attr-defined]
    assert (chunk.values.shape[0], chunk.rate_hz) == (3, 50)


@ffmpeg
def test_a_stop_and_a_close_end_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen
    monkeypatch.setattr(rtsp.subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
    with RtspServer(tone(5), RATE_HZ, ends=False) as server:
        stop = threading.Event()
        source = RtspSource(SOUND, f"rtsp://127.0.0.1:{server.port}/")
        for _ in source.chunks(stop):
            stop.set()
        assert started[0].returncode is not None
        # The server takes one client after the other.
        chunks = source.chunks(threading.Event())
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
        assert started[1].returncode is not None


@ffmpeg
@pytest.mark.parametrize(("status", "words"), [("401 Unauthorized", "401"), ("404 Not Found", "404")])
def test_what_a_camera_answers_is_told_without_the_password(status: str, words: str) -> None:
    with RtspServer(tone(1), RATE_HZ, status=status) as server:
        source = RtspSource(SOUND, f"rtsp://ann:s3cret@127.0.0.1:{server.port}/")
        with pytest.raises(SourceError, match=words) as caught:
            next(source.chunks(threading.Event()))
    assert "s3cret" not in str(caught.value)


@ffmpeg
def test_a_camera_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceError, match="Connection refused") as caught:
        next(RtspSource(SOUND, f"rtsp://ann:s3cret@127.0.0.1:{port}/").chunks(threading.Event()))
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@ffmpeg
def test_a_camera_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with RtspServer(tone(1), RATE_HZ, ends=False) as server:
        chunks = RtspSource(SOUND, f"rtsp://127.0.0.1:{server.port}/").chunks(threading.Event())
        next(chunks)
        monkeypatch.setattr(rtsp, "SILENT_S", 0.5)
        with pytest.raises(SourceError, match=r"no sound for 0\.5 s"):
            list(chunks)


@ffmpeg
def test_a_camera_without_sound() -> None:
    with RtspServer(tone(1), RATE_HZ, media="video") as server, pytest.raises(SourceError):
        next(RtspSource(SOUND, f"rtsp://127.0.0.1:{server.port}/").chunks(threading.Event()))


def test_without_ffmpeg_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sudo apt install ffmpeg"):
        next(RtspSource(ACOUSTIC, "rtsp://camera/").chunks(threading.Event()))
