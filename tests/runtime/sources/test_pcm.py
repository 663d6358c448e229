"""Raw PCM on a descriptor: any format, cut anywhere, until its end."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from bundles import ACOUSTIC, MAGNETIC, SEISMIC
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.runtime.sources.frames import Format, Frames
from rep_edge.runtime.sources.live import SourceError
from rep_edge.runtime.sources.pcm import PcmSource
from rep_edge.signals import Stream


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.mark.parametrize(
    ("format", "modality", "dtype", "scale"),
    [
        ("s16le", ACOUSTIC, "<i2", 2.0**15),
        ("s32le", ACOUSTIC, "<i4", 2.0**31),
        ("f32le", ACOUSTIC, "<f4", 1.0),
        ("s32le", SEISMIC, "<i4", 1.0),
    ],
)
def test_formats(format: Format, modality: Stream, dtype: str, scale: float, pipe: tuple[int, int]) -> None:
    sent = np.array([0, 1, -1, 30000, -32768], dtype)
    os.write(pipe[1], sent.tobytes())
    os.close(pipe[1])
    (chunk,) = PcmSource(modality, format, descriptor=pipe[0]).chunks(threading.Event())
    np.testing.assert_allclose(chunk.values[0], sent / scale, rtol=1e-6)
    assert chunk.values.dtype == np.float32
    assert chunk.rate_hz == modality.rate_hz


def test_a_file_is_cut_into_pieces_and_timed_by_its_samples(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], np.arange(4000, dtype="<i2").tobytes())
    os.close(pipe[1])
    made = list(PcmSource(ACOUSTIC, rate_hz=8000, descriptor=pipe[0]).chunks(threading.Event()))
    assert len(made) > 1
    for one, following in itertools.pairwise(made):
        assert following.start_s == pytest.approx(one.start_s + one.values.shape[1] / 8000)
    assert {chunk.rate_hz for chunk in made} == {8000}


def test_a_stop_is_noticed_while_nothing_comes_and_it_can_be_opened_again(pipe: tuple[int, int]) -> None:
    source, stop = PcmSource(ACOUSTIC, "s16le", descriptor=pipe[0]), threading.Event()
    os.write(pipe[1], b"\1\0\2")
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    (first,) = source.chunks(stop)
    timer.join()
    os.write(pipe[1], b"\0\3\0")
    os.close(pipe[1])
    (second,) = source.chunks(threading.Event())
    assert [*first.values[0], *second.values[0]] == [1 / 32768, 2 / 32768, 3 / 32768]
    assert second.start_s == pytest.approx(first.start_s + 1 / 800)


def test_a_descriptor_that_is_none_is_told(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(SourceError, match="-: cannot be read"):
        list(PcmSource(ACOUSTIC, descriptor=pipe[0]).chunks(threading.Event()))


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=10))
def test_where_the_bytes_are_cut_does_not_matter(content: bytes, cuts: list[int]) -> None:
    frames = Frames("s16le", MAGNETIC, 50, zero_s=0.0)
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    made = [frames.chunk(content[a:b], 10.0) for a, b in itertools.pairwise(edges)]
    found = np.concatenate([np.zeros((3, 0)), *(chunk.values for chunk in made if chunk)], axis=1)
    whole = len(content) // 6 * 6
    np.testing.assert_array_equal(found, np.frombuffer(content[:whole], "<i2").reshape(-1, 3).T.astype(np.float32))
