"""Samples in the payload of a message.

Two kinds of payload, told apart by their first bytes:

- JSON: `{"t": 1588000000.123, "rate_hz": 100.0, "samples": [1, -2, 3]}`. t: time of the first sample in s since 1970;
  rate_hz may be left out where the source's address states it; samples: a list, or one list for each channel.
- Binary, little-endian: the four bytes "REP1", t and rate_hz as float64, then float32 samples, channel by channel.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

LONGEST_BYTES = 1 << 20
"""Bytes of a payload that are taken."""

_HEAD = struct.Struct("<4sdd")
_MAGIC = b"REP1"


class _Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON payload."""

    t: float
    samples: list[float | list[float]]
    rate_hz: float | None = None


class Payload(NamedTuple):
    """values: float32 [channels, n]; start_s in s since 1970; rate_hz: None where it is not stated."""

    values: NDArray[np.float32]
    start_s: float
    rate_hz: float | None


_JSON = msgspec.json.Decoder(_Samples)


def parse_payload(data: bytes, channels: int) -> Payload | str:
    """The samples, or why they are refused, in fixed words."""
    if len(data) > LONGEST_BYTES:
        return f"it is longer than {LONGEST_BYTES} bytes"
    if data.startswith(_MAGIC):
        return _parse_binary(data, channels)
    if data.startswith(b"{"):
        return _parse_json(data, channels)
    return "it is neither JSON nor binary samples"


def _parse_binary(data: bytes, channels: int) -> Payload | str:
    samples_bytes = len(data) - _HEAD.size
    if samples_bytes < 0 or samples_bytes % (4 * channels):
        return f"it does not hold whole samples of {channels} channels"
    _, start_s, rate_hz = _HEAD.unpack_from(data)
    values = np.frombuffer(data, dtype="<f4", offset=_HEAD.size).astype(np.float32)
    return Payload(values.reshape(channels, -1), start_s, rate_hz)


def _parse_json(data: bytes, channels: int) -> Payload | str:
    try:
        message = _JSON.decode(data)
        with np.errstate(over="ignore"):
            values = np.array(message.samples, dtype=np.float32)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "it is no JSON of t, rate_hz and samples"
    if values.ndim == 1:
        values = values[None]
    if values.shape[0] != channels:
        return f"it does not hold whole samples of {channels} channels"
    return Payload(values, message.t, message.rate_hz)
