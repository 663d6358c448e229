"""An archive of day files, played as one stream: missing and damaged days are gaps."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from bundles import MAGNETIC, SEISMIC
from numpy.typing import NDArray
from recorded import EPOCH_S, counts, write_mseed

from rep_edge.errors import InputError
from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.sources.sds import DAY_S, SdsSource

STATION = "AM.R24FA.00.EHZ"
FIRST_S = datetime(2026, 12, 31, tzinfo=timezone.utc).timestamp()


def day(archive: Path, number: int, start_s: float, values: NDArray[np.int32]) -> Path:
    """The file of the day `number` after the first, with samples from `start_s` after its midnight on."""
    midnight_s = FIRST_S + number * DAY_S
    date = datetime.fromtimestamp(midnight_s, tz=timezone.utc)
    folder = archive / f"{date:%Y}" / "AM" / "R24FA" / "EHZ.D"
    folder.mkdir(parents=True, exist_ok=True)
    return write_mseed(folder / f"{STATION}.D.{date:%Y.%j}", [("EHZ", midnight_s - EPOCH_S + start_s, values)])


def played(source: SdsSource) -> list[Chunk]:
    return list(source.chunks(threading.Event()))


def values(chunks: Iterable[Chunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.values for chunk in chunks], axis=1)[0]


def test_days_follow_each_other_across_the_year(tmp_path: Path) -> None:
    day(tmp_path, 0, DAY_S - 5, counts(500))
    day(tmp_path, 1, 0, counts(500, seed=1))
    made = played(SdsSource(tmp_path, SEISMIC, STATION, speed="max"))
    np.testing.assert_array_equal(values(made), np.concatenate([counts(500), counts(500, seed=1)]))
    assert made[0].start_s == pytest.approx(FIRST_S + DAY_S - 5)
    assert made[50].start_s == pytest.approx(FIRST_S + DAY_S)
    assert {chunk.rate_hz for chunk in made} == {100}


def test_missing_and_damaged_days_are_gaps(tmp_path: Path) -> None:
    day(tmp_path, 0, 0, counts(100))
    day(tmp_path, 2, 0, counts(100)).write_bytes(b"no miniSEED" * 100)
    day(tmp_path, 3, 0, counts(100))
    source = SdsSource(tmp_path, SEISMIC, STATION, speed="max")
    made = played(source)
    assert [chunk.start_s - FIRST_S for chunk in made[9:11]] == pytest.approx([0.9, 3 * DAY_S])
    assert made[10].arrived_s - made[9].arrived_s == pytest.approx(3 * DAY_S - 0.9)
    assert source.refusals.counts() == {"unreadable day file": 1}


def test_only_the_span_is_played_to_the_sample(tmp_path: Path) -> None:
    day(tmp_path, 0, 0, counts(1000))
    day(tmp_path, 1, 0, counts(1000))
    span = FIRST_S + 1.23, FIRST_S + 4.56
    made = played(SdsSource(tmp_path, SEISMIC, STATION, *span, speed="max"))
    assert made[0].start_s == pytest.approx(FIRST_S + 1.23)
    np.testing.assert_array_equal(values(made), counts(1000)[123:456])


def test_what_two_days_both_hold_is_played_once(tmp_path: Path) -> None:
    both = counts(2000)
    day(tmp_path, 0, DAY_S - 10, both[:1033])
    day(tmp_path, 1, -0.25, both[975:])
    np.testing.assert_array_equal(values(played(SdsSource(tmp_path, SEISMIC, STATION, speed="max"))), both)


def test_opened_again_it_goes_on_where_it_was(tmp_path: Path) -> None:
    day(tmp_path, 0, 0, counts(100))
    source, stop = SdsSource(tmp_path, SEISMIC, STATION, speed="max"), threading.Event()
    for chunk in source.chunks(stop):
        if chunk.start_s - FIRST_S > 0.35:
            stop.set()
    np.testing.assert_array_equal(values(played(source)), counts(100)[50:])


def test_a_stop_is_noticed_while_it_waits_for_the_next_day(tmp_path: Path) -> None:
    day(tmp_path, 0, 0, counts(10))
    day(tmp_path, 1, 0, counts(10))
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    assert len(list(SdsSource(tmp_path, SEISMIC, STATION).chunks(stop))) == 1
    timer.join()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    day(tmp_path, 0, 0, counts(100))
    for station, words in (("EHZ", "station must be NET.STA.LOC.CHA"), ("AM.OTHER.00.EHZ", "has no file of this")):
        with pytest.raises(InputError, match=words.replace(".", r"\.")):
            SdsSource(tmp_path, SEISMIC, station)
    with pytest.raises(InputError, match="has no file of this station and time"):
        SdsSource(tmp_path, SEISMIC, STATION, begin_s=FIRST_S + 9 * DAY_S)
    with pytest.raises(InputError, match="is one channel, magnetic has 3"):
        SdsSource(tmp_path, MAGNETIC, STATION)
    (tmp_path / "2026/AM/R24FA/EHZ.D" / f"{STATION}.D.2026.999").touch()
    assert len(played(SdsSource(tmp_path, SEISMIC, STATION, speed="max"))) == 10
