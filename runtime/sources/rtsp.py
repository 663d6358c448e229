"""Network cameras and microphones: the sound of an RTSP stream, decoded by the program ffmpeg."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator

from rep_edge.errors import InputError
from rep_edge.runtime.sources.frames import Frames
from rep_edge.runtime.sources.live import Chunk, Refusals, SourceError
from rep_edge.runtime.sources.uri import without_passwords
from rep_edge.signals import Stream

SILENT_S = 10.0
"""Seconds without sound, also at the start, after which the camera is gone."""

_LOOK_S = 0.2
"""Seconds between two looks at `stop`."""

_READ_BYTES = 1 << 16


class RtspSource:
    """The sound of rtsp://USER:PASSWORD@HOST:PORT/PATH, over TCP, at the modality's rate (to the whole Hz) and
    channels; samples are -1..1. The clock counts samples."""

    def __init__(self, modality: Stream, url: str) -> None:
        self.address = without_passwords(url)
        self.refusals = Refusals(self.address)
        self._modality, self._url, self._zero_s = modality, url, time.monotonic()

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """What ffmpeg writes, until `stop`. Raises SourceError where the camera cannot be reached, has no sound or goes
        away, with ffmpeg's last words; InputError where ffmpeg is not installed."""
        program = shutil.which("ffmpeg")
        if program is None:
            raise InputError(f"{self.address}: ffmpeg is not installed: run  sudo apt install ffmpeg")
        rate_hz = max(1, round(self._modality.rate_hz))
        process = subprocess.Popen(
            _command(program, self._url, self._modality.channels, rate_hz),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield from self._listen(process, Frames("f32le", self._modality, rate_hz, self._zero_s), stop)
        finally:
            process.kill()
            process.communicate()

    def _listen(self, process: subprocess.Popen[bytes], frames: Frames, stop: threading.Event) -> Iterator[Chunk]:
        assert process.stdout is not None
        assert process.stderr is not None
        sound, words = process.stdout.fileno(), process.stderr.fileno()
        watched, told = [sound, words], b""
        heard_s = time.monotonic()
        while not stop.is_set():
            ready = select.select(watched, [], [], _LOOK_S)[0]
            if words in ready:
                said = os.read(words, _READ_BYTES)
                told = (told + said)[-4096:]
                if not said:
                    watched.remove(words)
            if sound in ready:
                read = os.read(sound, _READ_BYTES)
                if not read:
                    raise SourceError(f"{self.address}: {self._last_words(told + _rest(process))}")
                heard_s = time.monotonic()
                chunk = frames.chunk(read, heard_s)
                if chunk is not None:
                    yield chunk
            elif time.monotonic() - heard_s > SILENT_S:
                raise SourceError(f"{self.address}: no sound for {SILENT_S:g} s")

    def _last_words(self, told: bytes) -> str:
        """The last line of what ffmpeg said, without what the address holds in secret."""
        lines = told.decode(errors="replace").replace(self._url, self.address).strip().splitlines()
        line = "".join(c for c in lines[-1] if c.isprintable())[:200] if lines else "the stream ended"
        return without_passwords(line)


def _command(program: str, url: str, channels: int, rate_hz: int) -> list[str]:
    timeout_us = round(SILENT_S * 1e6)
    return [
        *(program, "-nostdin", "-hide_banner", "-loglevel", "error"),
        *("-rtsp_transport", "tcp", "-allowed_media_types", "audio", "-timeout", str(timeout_us), "-i", url),
        *("-vn", "-ac", str(channels), "-ar", str(rate_hz), "-f", "f32le", "-flush_packets", "1", "-"),
    ]


def _rest(process: subprocess.Popen[bytes]) -> bytes:
    """What a process that ends still says."""
    try:
        return process.communicate(timeout=1.0)[1]
    except subprocess.TimeoutExpired:
        return b""
