"""Microphones and sound cards of this machine, by PortAudio."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.live import Chunk, Refusals, SourceError
from rep_edge.runtime.sources.recording import PIECE_S
from rep_edge.signals import Stream

SILENT_S = 5.0
"""Seconds without a sample after which a device is gone: a driver need not say so."""

QUEUE_S = 10.0
"""Seconds of sound that wait at most to be read."""

_LOOK_S = 0.2
"""Seconds between two looks at `stop`."""

_counting = threading.Lock()
_streams = 0


class MicrophoneSource:
    """An input of a sound card; samples are -1..1.

    device: index or part of its name, "" for the machine's default. rate_hz: what to open it at; None: what PortAudio
    gives as the device's own, so that nothing but this programme converts it. The clock counts samples, from the
    second after its making in which the first one came; where the sound card lost some it is set anew.
    """

    def __init__(self, modality: Stream, device: str = "", rate_hz: float | None = None) -> None:
        self.address = f"mic:{device}"
        self.refusals = Refusals(self.address)
        self._modality, self._device, self._rate_hz = modality, device, rate_hz
        self._zero_s = time.monotonic()

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Chunks of about 0.1 s until `stop`. Raises SourceError where there is no such device, it takes another rate
        or number of channels, or it goes away; MissingExtraError, and InputError where PortAudio is not installed."""
        sounddevice = _load()
        try:
            with _one_more_stream(sounddevice):
                device = self._find(sounddevice)
                rate_hz = self._rate_hz or float(device["default_samplerate"])
                inbox = _Inbox(rate_hz, self._zero_s, self.refusals)
                stream = sounddevice.InputStream(
                    device=device["index"],
                    channels=self._modality.channels,
                    samplerate=rate_hz,
                    blocksize=max(1, round(PIECE_S * rate_hz)),
                    dtype="float32",
                    callback=inbox.take,
                )
                try:
                    stream.start()
                    yield from self._listen(stream, inbox, stop)
                finally:
                    # To stop would wait for a device that may be gone.
                    stream.abort(ignore_errors=True)
                    stream.close(ignore_errors=True)
        except sounddevice.PortAudioError as error:
            raise SourceError(f"{self.address}: {(str(error).splitlines() or ['failed'])[0]}") from error

    def _find(self, sounddevice: Any) -> Any:
        """What PortAudio says of the device: a mapping with index, name and default_samplerate."""
        inputs = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
        if not self._device:
            default = sounddevice.default.device[0]
            found = [device for device in inputs if device["index"] == default]
        elif self._device.isdecimal():
            found = [device for device in inputs if device["index"] == int(self._device)]
        else:
            found = [device for device in inputs if self._device.lower() in device["name"].lower()]
        if len(found) != 1:
            problem = f"fits {len(found)} devices" if found else "there is no such microphone"
            listed = "; ".join(f"{device['index']} {device['name']}" for device in inputs) or "none"
            raise SourceError(f"{self.address}: {problem}; there are: {listed}")
        return found[0]

    def _listen(self, stream: Any, inbox: _Inbox, stop: threading.Event) -> Iterator[Chunk]:
        heard_s = time.monotonic()
        while not stop.is_set():
            try:
                chunk = inbox.came.get(timeout=_LOOK_S)
            except queue.Empty:
                if not stream.active:
                    raise SourceError(f"{self.address}: the device went away") from None
                if time.monotonic() - heard_s > SILENT_S:
                    raise SourceError(f"{self.address}: no samples for {SILENT_S:g} s") from None
                continue
            heard_s = time.monotonic()
            yield chunk


class _Inbox:
    """What PortAudio's thread leaves for ours: chunks, timed by the samples before them."""

    def __init__(self, rate_hz: float, zero_s: float, refusals: Refusals) -> None:
        self.came: queue.Queue[Chunk] = queue.Queue(maxsize=round(QUEUE_S / PIECE_S))
        self._rate_hz, self._zero_s, self._refusals = rate_hz, zero_s, refusals
        self._next_s: float | None = None

    def take(self, values: NDArray[np.float32], frames: int, times: object, status: Any) -> None:
        """A block [n, channels], which PortAudio uses again after the call; it must not wait."""
        arrived_s, length_s = time.monotonic(), frames / self._rate_hz
        start_s = arrived_s - length_s - self._zero_s
        if self._next_s is not None and not status.input_overflow:
            start_s = self._next_s
        elif self._next_s is not None:
            # Nobody says how many were lost.
            self._refusals.count("lost by the sound card")
            start_s = max(self._next_s, start_s)
        self._next_s = start_s + length_s
        chunk = Chunk(np.array(values.T, order="C"), start_s, self._rate_hz, arrived_s)
        try:
            self.came.put_nowait(chunk)
        except queue.Full:
            self._refusals.count("read too slowly")


def _load() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError("sensors", "sounddevice") from error
    except OSError as error:
        raise InputError("mic: PortAudio is not installed: run  sudo apt install libportaudio2") from error
    return sounddevice


@contextmanager
def _one_more_stream(sounddevice: Any) -> Iterator[None]:
    """Counts the streams of this process. PortAudio lists devices when it starts, so the first one starts it anew:
    a microphone that was plugged in since is found."""
    global _streams
    with _counting:
        if not _streams:
            if sounddevice._initialized:
                sounddevice._terminate()
            sounddevice._initialize()
        _streams += 1
    try:
        yield
    finally:
        with _counting:
            _streams -= 1
