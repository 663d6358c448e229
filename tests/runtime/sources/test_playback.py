"""A file as a live sensor: its own clock, its gaps, in real time or at once, and on and on."""

from __future__ import annotations

import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bundles import ACOUSTIC, SEISMIC
from recorded import EPOCH_S, counts, write_mseed

from rep_edge.errors import InputError
from rep_edge.runtime.sources.playback import PlaybackSource


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 800), 800, subtype="FLOAT")
    return tmp_path / "a.wav"


def test_at_once_its_chunks_say_when_they_would_have_come(sound: Path) -> None:
    before = time.monotonic()
    made = list(PlaybackSource(sound, ACOUSTIC, speed="max").chunks(threading.Event()))
    assert time.monotonic() - before < 0.9
    assert [round(chunk.start_s, 6) for chunk in made] == [round(0.1 * i, 6) for i in range(10)]
    began = made[0].arrived_s - 0.1
    assert before <= began <= time.monotonic()
    assert [chunk.arrived_s - began for chunk in made] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    np.testing.assert_allclose(
        np.concatenate([chunk.values for chunk in made], axis=1)[0], np.linspace(-0.5, 0.5, 800), atol=1e-6
    )


def test_in_real_time_nothing_comes_before_it_was_recorded(sound: Path) -> None:
    began = time.monotonic()
    for chunk in islice(PlaybackSource(sound, ACOUSTIC).chunks(threading.Event()), 3):
        assert began + chunk.start_s + 0.1 <= chunk.arrived_s <= time.monotonic()


def test_gaps_and_the_time_of_day_are_kept(tmp_path: Path) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(100)), ("EHZ", 5.0, counts(100))])
    made = list(PlaybackSource(path, SEISMIC, speed="max").chunks(threading.Event()))
    assert made[0].start_s == EPOCH_S
    assert made[10].start_s == EPOCH_S + 5
    assert made[10].arrived_s - made[9].arrived_s == pytest.approx(4.1, abs=1e-6)


def test_what_overlaps_comes_after_what_it_overlaps_with(tmp_path: Path) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(200)), ("EHZ", 1.0, counts(200, seed=1))])
    made = list(PlaybackSource(path, SEISMIC, speed="max").chunks(threading.Event()))
    assert [chunk.start_s - EPOCH_S for chunk in made[19:21]] == pytest.approx([1.9, 1.0])
    assert [chunk.arrived_s for chunk in made] == sorted(chunk.arrived_s for chunk in made)


def test_a_loop_goes_on_while_its_clock_does(sound: Path) -> None:
    source = PlaybackSource(sound, ACOUSTIC, speed="max", loop=True)
    made = list(islice(source.chunks(threading.Event()), 25))
    assert [round(chunk.start_s, 6) for chunk in made] == [round(0.1 * i, 6) for i in range(25)]
    np.testing.assert_array_equal(made[20].values, made[0].values)
    assert made[-1].arrived_s - made[0].arrived_s == pytest.approx(2.4)


@pytest.mark.parametrize("loop", [False, True])
def test_opened_again_it_goes_on_where_it_was(sound: Path, loop: bool) -> None:
    source = PlaybackSource(sound, ACOUSTIC, speed="max", loop=loop)
    stop = threading.Event()
    for chunk in source.chunks(stop):
        if chunk.start_s > 0.35:
            stop.set()
    following = next(iter(source.chunks(threading.Event())))
    assert following.start_s == pytest.approx(0.5)
    assert following.arrived_s == pytest.approx(chunk.arrived_s + 0.1)


def test_a_stop_is_noticed_while_it_waits(tmp_path: Path) -> None:
    path = write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(10)), ("EHZ", 3600.0, counts(10))])
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    assert len(list(PlaybackSource(path, SEISMIC).chunks(stop))) == 1
    timer.join()


def test_channels_are_chosen_and_mistakes_told(tmp_path: Path, sound: Path) -> None:
    with pytest.raises(InputError, match=r"none\.wav: no such file"):
        PlaybackSource(tmp_path / "none.wav", ACOUSTIC)
    with pytest.raises(InputError, match="channel 3 is none"):
        list(PlaybackSource(sound, ACOUSTIC, channel="3").chunks(threading.Event()))
