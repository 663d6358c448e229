"""stream --fault: recordings are played as if something went wrong with the sensors that made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from bundles import make_bundle
from commands import Done, run
from recorded import counts, write_mseed

SECONDS = 30


class Recorded:
    """A bundle and half a minute of both sensors."""

    def __init__(self, folder: Path) -> None:
        self.bundle = make_bundle(folder / "bundle")
        sound = np.random.default_rng(0).normal(0, 0.1, SECONDS * 800)
        soundfile.write(folder / "a.wav", sound, 800, subtype="FLOAT")
        write_mseed(folder / "s.mseed", [("EHZ", 0.0, counts(SECONDS * 100))])
        self.sources = ("--source", f"acoustic={folder / 'a.wav'}", "--source", f"seismic={folder / 's.mseed'}")

    def stream(self, fault: str) -> Done:
        return run("stream", self.bundle, *self.sources, "--speed", "max", "--json", "--fault", fault)

    def lines(self, fault: str) -> list[Any]:
        done = self.stream(fault)
        assert done.code == 0
        return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


def ends(lines: list[Any], pattern: str) -> list[float]:
    return [round(line["end_s"], 6) for line in lines if line["pattern"] == pattern]


@pytest.mark.parametrize("kind", ["dropout", "nan=1", "stuck", "late=3", "burst=0.8"])
def test_a_sensor_that_cannot_be_believed_is_lost_and_comes_back(recorded: Recorded, kind: str) -> None:
    lines = recorded.lines(f"acoustic:{kind}@10-20")
    assert [round(line["end_s"], 6) for line in lines] == [1 + 0.5 * i for i in range(2 * SECONDS - 1)]
    alone = ends(lines, "seismic")
    assert {12.0, 15.0, 20.0} <= {*alone}
    assert alone[0] > 10.0
    assert alone[-1] <= 28.0


def test_faults_of_both_sensors_and_none_without_faults(recorded: Recorded) -> None:
    lines = recorded.lines("acoustic:dropout@5-8,seismic:nan=1@15-18")
    assert ends(lines, "seismic") == [5.5 + 0.5 * i for i in range(8)]
    assert ends(lines, "acoustic") == [15.5 + 0.5 * i for i in range(8)]


def test_clocks_are_followed(recorded: Recorded) -> None:
    lines = recorded.lines("seismic:jump=300@5-15,acoustic:drift=100@0-30")
    assert [round(line["end_s"], 6) for line in lines] == [1 + 0.5 * i for i in range(2 * SECONDS - 1)]
    assert ends(lines, "acoustic")[-1] < 22.0


def test_a_wrong_rate_is_suspect(recorded: Recorded) -> None:
    lines = recorded.lines("seismic:rate=0.9@5-30")
    assert "samples a second instead of 100" in lines[-4]["suspects"]["seismic"]
    assert lines[-4]["alternative"]["pattern"] == "acoustic"


def test_a_fault_that_is_none_is_one_line(recorded: Recorded) -> None:
    assert "rust is no kind of fault; known are gain" in recorded.stream("acoustic:rust@1-2").error
