"""inspect, classify and stream as commands: what they print where, and what a mistake looks like."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import soundfile
from bundles import LABELS, make_bundle
from recorded import counts, write_mseed

from rep_edge.cli.app import main
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.manifest import ConfidenceRecord, EngineRecord, LabelSetRecord, LayerRecord, PrecisionRecord
from rep_edge.runtime.prediction import Prediction

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
    fields = {"label", "label_set", "probabilities", "pattern", "latency_s", "start_s", "end_s", "reasons"}
    assert set(lines[0]) == fields | {"value", "suspects", "alternative"}
    assert lines[0]["pattern"] == "acoustic+seismic"
    lost = lines[12]
    assert (lost["label"], lost["pattern"], lost["probabilities"]) == (None, "", {})
    assert lost["reasons"] == dict.fromkeys(("acoustic", "seismic"), "no samples for 2.0 s")


@pytest.mark.parametrize("command", ["classify", "stream"])
def test_the_first_line_says_what_runs_the_graphs_and_why(bench: Bench, command: str) -> None:
    speed = ("--speed", "max") if command == "stream" else ()
    precision = ("--backend", "onnxruntime-cpu", "--precision", "fp32")
    done = bench.run(command, "--source", bench.ground, *speed, *precision, "--json")
    assert done.code == 0
    assert done.err.splitlines()[0] == "onnxruntime-cpu, fp32: fp32 was asked for"
    bench.patch.setattr("rep_edge.runtime.choosing.missing_driver", lambda: "no NVIDIA driver (none)")
    done = bench.run(command, "--source", bench.ground, *speed)
    assert done.err.splitlines()[0] == ("onnxruntime-cpu, fp32: no NVIDIA driver (none); the bundle has no int8 graphs")


def test_a_required_gpu_that_is_not_there_is_one_line(bench: Bench) -> None:
    bench.patch.setattr("rep_edge.runtime.choosing.missing_driver", lambda: "no NVIDIA driver (none)")
    done = bench.run("classify", "--source", bench.ground, "--require-gpu")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: no backend starts on a GPU, and one is required (no NVIDIA driver (none)); run  rep-edge doctor\n"
    )


def test_what_changes_on_the_way_is_told_between_windows(bench: Bench) -> None:
    def telling(self: Classifier, windows: Any, start_s: float = 0.0) -> Prediction:
        if start_s == 2.0:
            self.reasons.append("engines are built")
        return asked(self, windows, start_s)

    asked = Classifier.__call__
    bench.patch.setattr(Classifier, "__call__", telling)
    done = bench.run("classify", "--source", bench.ground, "--json")
    assert done.err.splitlines().count("engines are built") == 1


def test_inspect_shows_what_calibration_and_compilation_found(bench: Bench) -> None:
    bundle = open_bundle(bench.bundle)
    kept = tuple(LayerRecord(name=f"/head[{i}]", operator="Gemm", reason="int8 changes 3 labels") for i in range(5))
    precision = PrecisionRecord(
        pattern="acoustic",
        precision="int8",
        method="entropy",
        accuracy=0.874,
        accuracy_fp32=0.881,
        agreement=0.973,
        windows=400,
        budget=0.01,
        converted=37,
        kept=kept,
    )
    confidence = ConfidenceRecord(windows=300, ece_before=0.112, ece_after=0.021, accuracy=0.86, confidence=0.87)
    engine = EngineRecord(
        pattern="acoustic",
        precision="fp32",
        file=bundle.graph("acoustic", "fp32").file,
        graph_sha256="",
        backend="tensorrt-rtx",
        backend_version="1.7.1.116",
        compute_capability="sm89",
        batch=(1, 2, 8),
    )
    sets = LabelSetRecord(
        coverage=0.9, thresholds={"acoustic": 0.123}, covered={"acoustic": 0.914}, size={"acoustic": 1.71}
    )
    manifest = msgspec.structs.replace(
        bundle.manifest,
        precisions=(precision,),
        confidence={"acoustic": confidence},
        label_sets=sets,
        engines=(engine,),
    )
    (bench.bundle / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    bench.patch.setenv("COLUMNS", "200")
    done = bench.run("inspect")
    assert (done.code, done.err) == (0, "")
    for words in (
        *("87.4 %", "88.1 %", "97.3 %", "entropy", "37, 5 kept in fp32"),
        "kept in fp32, acoustic in int8: /head[0] (Gemm): int8 changes 3 labels; /head[1]",
        "and 2 more (--json)",
        *("11.2 %", "2.1 %", "90.0 %", "0.123", "91.4 %", "1.71"),
        *("tensorrt-rtx 1.7.1.116", "sm89", "1 to 8, usually 2"),
    ):
        assert words in done.out.replace("\n", " "), words


def test_a_sensor_without_a_source_is_missing_from_the_start(bench: Bench) -> None:
    done = bench.run("stream", "--source", bench.ground, "--speed", "max")
    assert done.code == 0
    assert done.err.splitlines()[1].startswith("acoustic: no source given, missing from the start")
    assert done.err.splitlines()[2].startswith("seismic: 20.0 s")
    assert "lost" not in done.err
    assert all(line.split()[4] == "seismic" for line in done.out.splitlines()[1:])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give at least one"),
        (("--source", "acoustic=none.wav"), "none.wav: no such file"),
        (("--source", "radar=a.wav"), "radar is no modality"),
        (("--source", "acoustic=udp://host"), "udp: is not known; known are a path, file:, sds:, mic:"),
        (("--source", "acoustic=mic:", "--drop", "acoustic@1-2"), "--drop: is for recordings, and here are live"),
        (("--source", "acoustic=mic:", "--speed", "max"), "--speed max: is for recordings, and here are live"),
        (("--source", "acoustic=mic:", "--lateness", "-1"), "lateness_s: must be at least 0, not -1"),
        (("--source", "acoustic=-", "--source", "seismic=-"), "standard input can be read by one"),
        (("--drop", "acoustic@9"), "--drop acoustic@9: must be NAME@FROM-TO"),
        (("--backend", "cuda"), "backend 'cuda': is none; choose auto or one of tensorrt-rtx, tensorrt, "),
        (("--precision", "int4"), "precision 'int4': is none; choose auto or one of fp32, fp16, int8"),
        (("--precision", "int8"), "has no int8 graphs, only fp32; make them with  rep-edge calibrate"),
        (("--backend", "onnxruntime-cpu", "--require-gpu"), "onnxruntime-cpu: is no GPU, and one is required"),
    ],
)
def test_a_mistake_is_one_line(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    done = bench.run("stream", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err


def test_classify_takes_no_live_sensors(bench: Bench) -> None:
    done = bench.run("classify", "--source", "acoustic=mic:")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: mic:: is a live sensor, and here only files can be read; use  rep-edge stream\n"


def test_live_sensors_until_all_have_ended(bench: Bench) -> None:
    for name, rate_hz in (("a", 800), ("g", 100)):
        samples = np.random.default_rng(1).normal(0, 0.1, 2 * rate_hz)
        soundfile.write(bench.bundle.parent / f"{name}.wav", samples, rate_hz, subtype="FLOAT")
    sources = (f"acoustic=file:{bench.bundle.parent}/a.wav?loop=no", f"seismic={bench.bundle.parent}/g.wav")
    done = bench.run("stream", *(word for source in sources for word in ("--source", source)))
    lines = done.out.splitlines()
    assert done.code == 0, done.err
    assert lines[0].split() == ["time", "class", "sure", "live", "sensors,", "latency"]
    assert [line.split()[0] for line in lines[1:3]] == ["1.0", "1.5"]
    assert "acoustic+seismic" in lines[2]
    assert f"acoustic: file:{bench.bundle.parent}/a.wav is connected\n" in done.err
    assert f"seismic: file:{bench.bundle.parent}/g.wav has ended\n" in done.err
    assert "  acoustic+seismic: " in done.err


def test_a_live_stream_goes_on_until_ctrl_c(bench: Bench) -> None:
    command = [sys.executable, "-c", "from rep_edge.cli.app import main; main()", "stream", str(bench.bundle), "--json"]
    sources = ["--source", "acoustic=-?format=f32le", "--source", f"{bench.ground}?loop=yes"]
    with subprocess.Popen(
        command + sources, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        # A window of sound, then none: the other sensor goes on, and so does the stream.
        process.stdin.write(np.random.default_rng(0).normal(0, 0.1, 800).astype("<f4").tobytes())
        process.stdin.flush()
        while not lines or lines[-1]["pattern"] != "seismic":
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        _rest, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert [line["end_s"] for line in lines] == pytest.approx([1 + 0.5 * i for i in range(len(lines))])
    assert b"seismic: " in told
    assert b"interrupted" not in told
    assert told.splitlines()[-1].startswith(b"  seismic: ") or b"  seismic: " in told


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
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.manifest import ConfidenceRecord, EngineRecord, LabelSetRecord, LayerRecord, PrecisionRecord
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
