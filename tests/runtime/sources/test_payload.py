from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.runtime.sources.payload import Payload, parse_payload

START_S = 1588000000.25


def in_json(**changes: object) -> bytes:
    return json.dumps({"t": START_S, "rate_hz": 100.0, "samples": [1, -2.5, 3], **changes}).encode()


def in_binary(values: np.ndarray, start_s: float = START_S, rate_hz: float = 100.0) -> bytes:  # type: ignore[type-arg]
    return b"REP1" + struct.pack("<dd", start_s, rate_hz) + values.astype("<f4").tobytes()


def test_json_is_time_rate_and_samples() -> None:
    payload = parse_payload(in_json(), 1)
    assert isinstance(payload, Payload)
    np.testing.assert_array_equal(payload.values, [[1, -2.5, 3]])
    assert (payload.start_s, payload.rate_hz, payload.values.dtype) == (START_S, 100.0, np.float32)


def test_json_has_a_list_for_each_of_several_channels() -> None:
    payload = parse_payload(in_json(samples=[[1, 2], [3, 4], [5, 6]]), 3)
    assert isinstance(payload, Payload)
    np.testing.assert_array_equal(payload.values, [[1, 2], [3, 4], [5, 6]])


def test_binary_is_a_head_of_twenty_bytes_and_channel_after_channel() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    payload = parse_payload(in_binary(values), 3)
    assert isinstance(payload, Payload)
    np.testing.assert_array_equal(payload.values, values)
    assert (payload.start_s, payload.rate_hz) == (START_S, 100.0)


@pytest.mark.parametrize(
    ("data", "channels", "reason"),
    [
        (b"", 1, "it is neither JSON nor binary samples"),
        (b"[1, 2]", 1, "it is neither JSON nor binary samples"),
        (b"{", 1, "it is no JSON of t, rate_hz and samples"),
        (in_json(t="now"), 1, "it is no JSON of t, rate_hz and samples"),
        (in_json(t=True), 1, "it is no JSON of t, rate_hz and samples"),
        (in_json(samples=[1, [2]]), 1, "it is no JSON of t, rate_hz and samples"),
        (in_json(samples=[float("nan")]), 1, "it is no JSON of t, rate_hz and samples"),
        (in_json(gain=2), 1, "it is no JSON of t, rate_hz and samples"),
        (b'{"samples":' + b"[" * 100_000, 1, "it is no JSON of t, rate_hz and samples"),
        (in_json(), 3, "it does not hold whole samples of 3 channels"),
        (in_json(samples=[[1], [2]]), 1, "it does not hold whole samples of 1 channels"),
        (b"REP1short", 1, "it does not hold whole samples of 1 channels"),
        (in_binary(np.zeros(4)), 3, "it does not hold whole samples of 3 channels"),
        (in_binary(np.zeros(1)) + b"\0", 1, "it does not hold whole samples of 1 channels"),
        (b"{" + b" " * (1 << 20), 1, "it is longer than 1048576 bytes"),
    ],
)
def test_what_is_no_payload_is_refused(data: bytes, channels: int, reason: str) -> None:
    assert parse_payload(data, channels) == reason


NUMBER = st.floats() | st.integers() | st.just(10**400)
JSON = (
    st.none() | st.booleans() | NUMBER | st.text(max_size=3) | st.lists(NUMBER, max_size=3) | st.lists(st.lists(NUMBER))
)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=80)
    | st.binary(max_size=80).map(lambda tail: b"REP1" + tail)
    | st.builds(in_json, t=JSON, samples=JSON, rate_hz=JSON),
    st.integers(1, 3),
)
def test_no_bytes_raise(data: bytes, channels: int) -> None:
    parsed = parse_payload(data, channels)
    assert isinstance(parsed, str) or parsed.values.shape[0] == channels
