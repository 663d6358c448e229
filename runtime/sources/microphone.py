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
from rep_edge.signals import Modality

SILENT_S = 5.0
"""Seconds without a sample after which a device is gone: a driver need not say so."""

QUEUE_S = 10.0
"""Seconds of sound that wait at most to be read."""

_LOOK_S = 0.2

_devices = threading.Lock()
_open_streams = 0


class MicrophoneSource:
    """An input of a sound card; samples are -1..1.

    device: index or part of its name, "" for the machine's default. rate_hz: what to open it at; None: the device's own,
    so that nothing between the device and this programme converts it. The clock counts samples from 0; after samples
    were lost it is set anew by their arrival.
    """

    def __init__(self, modality: Modality, device: str = "", rate_hz: float | None = None) -> None:
        self.address = f"mic:{device}"
        self.refusals = Refusals(self.address)
        self._modality, self._device, self._rate_hz = modality, device, rate_hz

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Chunks of about 0.1 s until `stop`. Raises SourceError where there is no such device, it takes another rate
        or number of channels, or it goes away; MissingExtraError, and InputError where PortAudio is not installed."""
        sounddevice = _load()
        with _listed_anew(sounddevice):
            index, own_hz = self._find(sounddevice)
            rate_hz = self._rate_hz or own_hz
            came: queue.Queue[_Block] = queue.Queue(maxsize=round(QUEUE_S / PIECE_S))

            def take(values: NDArray[np.float32], frames: int, times: object, status: Any) -> None:
                # PortAudio's thread: it must not wait, and what it lends is overwritten after the call.
                try:
                    came.put_nowait(_Block(values.T.copy(), time.monotonic(), bool(status.input_overflow)))
                except queue.Full:
                    self.refusals.count("read too slowly")

            try:
                stream = sounddevice.InputStream(
                    device=index,
                    channels=self._modality.channels,
                    samplerate=rate_hz,
                    blocksize=max(1, round(PIECE_S * rate_hz)),
                    dtype="float32",
                    callback=take,
                )
                with stream:
                    yield from self._listen(stream, came, rate_hz, stop)
            except (sounddevice.PortAudioError, ValueError) as error:
                raise SourceError(f"{self.address}: {_first_line(error)}") from error
