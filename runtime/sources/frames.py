"""Raw PCM bytes, cut anywhere, to chunks that are timed by the samples before them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rep_edge.runtime.sources.live import Chunk
from rep_edge.signals import Stream

Format = Literal["s16le", "s32le", "f32le"]

_DTYPES = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}
_LARGEST = {"s16le": 2.0**15, "s32le": 2.0**31, "f32le": 1.0}


class Frames:
    """Interleaved samples of the modality's channels. The clock counts them, from when the first one came, in s after
    `zero_s` (of `time.monotonic()`): a sensor that is opened anew goes on, and does not begin at 0 again.

    Whole numbers become -1..1 where the modality's unit is "full scale"; of another unit they are taken as they are.
    """

    def __init__(self, format: Format, modality: Stream, rate_hz: float, zero_s: float) -> None:
        self._dtype = np.dtype(_DTYPES[format])
        self._scale = np.float32(_LARGEST[format] if modality.unit == "full scale" else 1.0)
        self._channels, self._rate_hz, self._zero_s = modality.channels, rate_hz, zero_s
        self._rest, self._sent = b"", 0
        self._begin_s: float | None = None

    def chunk(self, read: bytes, arrived_s: float) -> Chunk | None:
        """The samples that these bytes complete; None for none. What is left begins the next chunk."""
        content = self._rest + read
        frame_bytes = self._channels * self._dtype.itemsize
        whole = len(content) // frame_bytes * frame_bytes
        self._rest = content[whole:]
        if not whole:
            return None
        values = np.frombuffer(content[:whole], self._dtype).astype(np.float32).reshape(-1, self._channels).T
        if self._begin_s is None:
            self._begin_s = arrived_s - values.shape[1] / self._rate_hz - self._zero_s
        start_s = self._begin_s + self._sent / self._rate_hz
        self._sent += values.shape[1]
        return Chunk(np.ascontiguousarray(values / self._scale), start_s, self._rate_hz, arrived_s)
