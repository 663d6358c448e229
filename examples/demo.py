"""The whole way in minutes: train, adapt to missing sensors, export, stream while the sensors drop out.

Runs the commands that one would type, prints each before it runs, and leaves everything in build/demo. Repeated, it
goes on where it stopped: a finished step whose inputs are the same is not done again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from make_recordings import SPEC, write_file
from rich.console import Console

from rep_edge.config import SimulatedData, read_config
from rep_edge.data.opening import open_dataset
from rep_edge.evaluation import Row
from rep_edge.report import print_report

CONFIG = Path("configs/demo.yaml")
OUT = Path("build/demo")
RECORD = "config.json"
HEAD_ONLY = OUT / "head-only.yaml"
REPLAY = OUT / "replay"
SCENES = ("Truck", "walk")
CALIBRATION = ("--precision", "int8", "--method", "minmax", "--windows", "128")
REPLAY_SEED = 2024
"""Seed of the replayed runs; the training data has another one, so no model has met them."""
DROPS = "acoustic@12-24,seismic@34-46"


class Step(NamedTuple):
    """One command: why it runs, its arguments after `rep-edge`, the files it reads, what it leaves."""

    why: str
    arguments: tuple[str, ...]
    reads: tuple[Path, ...]
    leaves: tuple[Path, ...]


def path(name: str) -> Path:
    return OUT / name


def making() -> list[Step]:
    """From the configuration to the bundle. A step that reads a checkpoint names the record that changes with it."""
    backbone, rep = path("backbone"), path("rep")
    return [
        Step(
            "Stage 1: a backbone learns seven classes from both sensors.",
            ("train", str(CONFIG), "--out", str(backbone)),
            (CONFIG,),
            (backbone,),
        ),
        Step(
            "Stage 2: the backbone is frozen, and REP learns to do without a sensor.",
            ("adapt", str(backbone), "--config", str(CONFIG), "--out", str(rep)),
            (CONFIG, backbone / RECORD),
            (rep,),
        ),
        Step(
            "One graph for each set of live sensors, each compared with the trained model.",
            ("export", str(rep), "--out", str(path("bundle"))),
            (rep / RECORD,),
            (path("bundle"),),
        ),
        Step(
            "The same graphs in int8, which lose no accuracy worth naming, and an honest confidence.",
            ("calibrate", str(path("bundle")), "--data", str(rep), *CALIBRATION, "--report", str(path("calibration"))),
            (rep / RECORD,),
            (path("calibration"),),
        ),
    ]


def judging() -> list[Step]:
    """A cheap rival, and all models on the same windows."""
    backbone, rep, head = path("backbone"), path("rep"), path("head-only")
    return [
        Step(
            "A cheap rival: the same second stage for the head alone, without REP.",
            ("adapt", str(backbone), "--config", str(HEAD_ONLY), "--out", str(head)),
            (HEAD_ONLY, backbone / RECORD),
            (head,),
        ),
        Step(
            "All three on the same test windows, while more and more of them lose a sensor.",
            ("evaluate", str(backbone), str(head), str(rep), "--out", str(OUT)),
            (backbone / RECORD, head / RECORD, rep / RECORD),
            (path("evaluation.json"), path("evaluation.png")),
        ),
    ]


def main() -> int:
    began = time.monotonic()
    print(
        "This demo trains on simulated vehicles and walkers (nothing is downloaded), on a microphone and a geophone.\n"
        f"So that it ends in minutes on two cores, its SW-T is a narrow one and sees few runs: {CONFIG} says how few.\n"
        "make bench measures the full size, and the accuracy that more runs and longer training give.",
        flush=True,
    )
    OUT.mkdir(parents=True, exist_ok=True)
    write_head_only()
    try:
        for step in making():
            run_once(step)
        stream()
        ran = [run_once(step) for step in judging()]
    except subprocess.CalledProcessError as error:
        print(f"the demo stopped: exit code {error.returncode}; make demo goes on from here", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; make demo goes on from here", file=sys.stderr)
        return 130
    if not ran[-1]:
        print_report(msgspec.json.decode(path("evaluation.json").read_bytes(), type=list[Row]), Console())
    report(time.monotonic() - began)
    return 0


def write_head_only() -> None:
    """The rival's configuration: as REP's, without slots and cache."""
    config = read_config(CONFIG)
    rival = msgspec.structs.replace(config, adapter=msgspec.structs.replace(config.adapter, memory="none", cache=()))
    HEAD_ONLY.write_bytes(msgspec.yaml.encode(rival))


def run_once(step: Step) -> bool:
    """Run a step unless it finished before from the same inputs; True if it ran.

    What other inputs left behind is removed first; what the same inputs began is left for the command to go on with.
    """
    mark = OUT / ".finished" / f"{step.leaves[0].name}.json"
    digest = hashlib.sha256(repr(step.arguments).encode())
    for file in step.reads:
        digest.update(file.read_bytes())
    key = digest.hexdigest()
    known = json.loads(mark.read_text()) if mark.is_file() else {"key": key, "finished": False}
    if known == {"key": key, "finished": True} and all(left.exists() for left in step.leaves):
        print(f"\n{step.why}\n  finished before: {', '.join(map(str, step.leaves))}", flush=True)
        return False
    if known["key"] != key or known["finished"]:
        for left in step.leaves:
            if left.is_dir():
                shutil.rmtree(left)
            left.unlink(missing_ok=True)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(json.dumps({"key": key, "finished": False}))
    say(step.why, step.arguments)
    subprocess.run([program(), *step.arguments], check=True)
    mark.write_text(json.dumps({"key": key, "finished": True}))
    return True


def stream() -> None:
    """Write two new runs as files, then classify them as if they came from sensors that fail."""
    data = open_dataset(SimulatedData(runs_per_class=1, windows_per_run=14, seed=REPLAY_SEED), SPEC)
    rows = [i for scene in SCENES for i, target in enumerate(data.targets) if data.labels[target] == scene]
    REPLAY.mkdir(exist_ok=True)
    for name in SPEC.names:
        write_file(REPLAY / name, SPEC.stream(name), np.concatenate([data[i].values[name][0] for i in rows]))
    sources = (f"acoustic={REPLAY / 'acoustic.wav'}", f"seismic={REPLAY / 'seismic.mseed'}")
    arguments = ("stream", str(path("bundle")), "--source", sources[0], "--source", sources[1])
    options = ("--drop", DROPS, "--speed", "max", "--json")
    length = len(rows) // len(SCENES) * SPEC.window_s
    scenes = ", then ".join(f"{length:.0f} s of {scene}" for scene in SCENES)
    say(f"A live replay: {scenes}; the microphone and later the geophone fail.", (*arguments, *options))
    with path("stream.jsonl").open("w") as file:
        subprocess.run([program(), *arguments, *options], check=True, stdout=file)


def report(seconds: float) -> None:
    """What was left where, and what to try next."""
    print(f"\nFinished in {seconds / 60:.1f} minutes. It left in {OUT}:")
    for name, what in (
        ("backbone/", "the model that knows complete data only"),
        ("rep/", "the same, adapted with REP"),
        ("bundle/", "what a device needs: three graphs in fp32 and in int8, their shared weights and the manifest"),
        ("calibration/", "how far each layer drifts in int8, and accuracy over confidence: drift.png, reliability.png"),
        ("evaluation.json", "every figure of the table"),
        ("evaluation.png", "the curves: accuracy over the share of windows that lost a sensor"),
        ("stream.jsonl", "the replay, one line for each window"),
    ):
        print(f"  {name:16} {what}")
    bundle = path("bundle")
    print("\nTry next (the programs are in .venv/bin):")
    print(f"  rep-edge inspect {bundle}")
    print(f"  rep-edge doctor {bundle}")
    print(f"  rep-edge stream {bundle} --source seismic={REPLAY / 'seismic.mseed'} --speed real")
    print("  your own recordings: docs/recordings.md")


def say(why: str, arguments: tuple[str, ...]) -> None:
    print(f"\n{why}\n$ {shlex.join(('rep-edge', *arguments))}", flush=True)


def program() -> str:
    """The rep-edge of the environment that runs this file."""
    return str(Path(sys.executable).with_name("rep-edge"))


if __name__ == "__main__":
    raise SystemExit(main())
