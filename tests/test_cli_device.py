"""inspect, classify and stream as commands: what they print where, and what a mistake looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from bundles import LABELS, make_bundle
from recorded import counts, write_mseed

from rep_edge.cli.app import main

DATA = Path(os.environ.get("REP_EDGE_DATA", "/nonexistent"))


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Bench(NamedTuple):
    """A bundle and two recordings of 20 s."""

    bundle: Path
    sound: str
    ground: str
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def run(self, command: str, *arguments: str) -> Done:
        self.patch.setattr(sys, "argv", ["rep-edge", command, str(self.bundle), *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capture.readouterr()
        return Done(int(end.value.code or 0), out, err)


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    sound = np.random.default_rng(0).normal(0, 0.1, 20 * 800)
    soundfile.write(tmp_path / "a.wav", sound, 800, subtype="PCM_16")
    write_mseed(tmp_path / "s.mseed", [("EHZ", 0.0, counts(2000))])
    sources = f"acoustic={tmp_path / 'a.wav'}", f"seismic={tmp_path / 's.mseed'}"
    return Bench(make_bundle(tmp_path / "bundle"), *sources, capsys, monkeypatch)


def test_inspect_says_what_a_bundle_holds(bench: Bench) -> None:
    done = bench.run("inspect")
    assert (done.code, done.err) == (0, "")
    for word in ("verified", "acoustic+seismic", "800 Hz", "quiet, car, truck", "1.0e-07", "weights fp32", "memory"):
        assert word in done.out


def test_inspect_for_programs(bench: Bench) -> None:
    done = bench.run("inspect", "--json")
    (line,) = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert json.loads(line) == json.loads((bench.bundle / "manifest.json").read_text())


def test_classify_prints_a_line_for_each_window_and_sums_up(bench: Bench) -> None:
    done = bench.run("classify", "--source", bench.sound, "--source", bench.ground)
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0].split() == ["time", "class", "sure", "live", "sensors,", "latency"]
    assert len(lines) == 1 + 39
    time, second, label, sure, pattern, latency, unit = lines[1].split()
    assert (time, second, pattern, unit) == ("1.0", "s", "acoustic+seismic", "ms")
    assert label in LABELS
    assert 0 < float(sure) <= 1
    assert float(latency) >= 0
    assert "acoustic: 20.0 s, 800 Hz\n" in done.err
    assert "seismic: 20.0 s, 100 Hz, channel AM.R24FA.00.EHZ\n" in done.err
    assert "39 windows:\n  acoustic+seismic: 39 windows: " in done.err


def test_a_stream_that_loses_its_sensors(bench: Bench) -> None:
    drops = ("--drop", "acoustic@5-10,seismic@8-12", "--speed", "max")
    done = bench.run("stream", "--source", bench.sound, "--source", bench.ground, *drops)
    assert done.code == 0
    assert "5.5 s: acoustic lost: no samples for 0.5 s\n" in done.err
    assert "8.5 s: seismic lost: no samples for 0.5 s\n" in done.err
    assert "11.5 s: acoustic is live again\n" in done.err
    assert "13.5 s: seismic is live again\n" in done.err
    assert "  no sensor live: 6 windows\n" in done.err
    assert "no sensor is live" in done.out
    assert len(done.out.splitlines()) == 1 + 39


def test_json_lines_and_nothing_else_on_standard_output(bench: Bench) -> None:
    drops = ("--drop", "acoustic@5-10,seismic@5-10", "--speed", "max", "--json")
    done = bench.run("stream", "--source", bench.sound, "--source", bench.ground, *drops)
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["end_s"] for line in lines] == [1 + 0.5 * i for i in range(39)]
    assert set(lines[0]) == {"label", "probabilities", "pattern", "latency_s", "start_s", "end_s", "reasons"}
    assert lines[0]["pattern"] == "acoustic+seismic"
    lost = lines[12]
    assert (lost["label"], lost["pattern"], lost["probabilities"]) == (None, "", {})
    assert lost["reasons"] == dict.fromkeys(("acoustic", "seismic"), "no samples for 2.0 s")


def test_a_sensor_without_a_source_is_missing_from_the_start(bench: Bench) -> None:
    done = bench.run("stream", "--source", bench.ground, "--speed", "max")
    assert done.code == 0
    assert done.err.startswith("acoustic: no source given, missing from the start\nseismic: 20.0 s")
    assert "lost" not in done.err
    assert all(line.split()[4] == "seismic" for line in done.out.splitlines()[1:])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give at least one"),
        (("--source", "acoustic=none.wav"), "none.wav: no such file"),
        (("--source", "radar=a.wav"), "radar is no modality"),
        (("--source", "acoustic=udp://host"), "udp:// is not known"),
        (("--drop", "acoustic@9"), "--drop acoustic@9: must be NAME@FROM-TO"),
    ],
)
def test_a_mistake_is_one_line(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    done = bench.run("stream", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err


@pytest.mark.parametrize("command", ["inspect", "classify", "stream"])
def test_a_damaged_bundle_is_one_line(bench: Bench, command: str) -> None:
    weights = bench.bundle / "graphs/weights.fp32.bin"
    content = bytearray(weights.read_bytes())
    content[100] ^= 64
    weights.write_bytes(content)
    done = bench.run(command, *(() if command == "inspect" else ("--source", bench.ground)))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {weights}: its content is not what was exported")
    assert done.err.count("\n") == 1


def test_a_truncated_recording_prints_nothing_else(bench: Bench) -> None:
    path = Path(bench.sound.partition("=")[2])
    path.write_bytes(path.read_bytes()[:-1000])
    done = bench.run("classify", "--source", bench.sound)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "a.wav: the file is cut off" in done.err


def test_a_missing_extra_is_wrong_usage(bench: Bench) -> None:
    bench.patch.setitem(sys.modules, "pymseed", None)
    done = bench.run("classify", "--source", bench.ground)
    assert (done.code, done.out) == (2, "")
    assert done.err == 'error: pymseed is not installed: run  pip install "rep-edge[sensors]"\n'


def test_an_unknown_speed_is_wrong_usage(bench: Bench) -> None:
    assert bench.run("stream", "--source", bench.ground, "--speed", "fast").code == 2


HEAVY = "torch onnx scipy obspy matplotlib timm"
IN_ONE = f"""
import sys
from rep_edge.cli.app import main
try:
    main()
finally:
    print(*(name for name in "{HEAVY}".split() if name in sys.modules), file=sys.stderr)
"""


def test_the_commands_load_none_of_the_desks_packages(bench: Bench) -> None:
    command = [sys.executable, "-c", IN_ONE, "classify", str(bench.bundle), "--source", bench.ground, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == ""


@pytest.mark.skipif(not DATA.is_dir(), reason="REP_EDGE_DATA names no folder")
def test_a_raspberry_shake(bench: Bench) -> None:
    done = bench.run("classify", "--source", f"seismic={DATA / 'rsudp_shake4d_100hz.ms'}", "--json")
    assert done.code == 0
    assert len(done.out.splitlines()) == 219
    assert {json.loads(line)["pattern"] for line in done.out.splitlines()} == {"seismic"}
