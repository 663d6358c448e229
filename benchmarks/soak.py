"""Days of streams in an hour: faults on all sensors all the time, the core killed and restarted, everything counted.

    python benchmarks/soak.py [--minutes 60] [--bundle build/demo/bundle] [--seed 0] [--out OUT]

Sensors, clocks, windows, classifier, tracker, journal, clips and a sink run as the service runs them, on a time that
goes as fast as the machine can follow. In the first half of the run the process is killed with SIGKILL at random times
and restarted on what it left on the disk; in the second half it is left alone, and there its memory is fitted.
Exits with 1 where a hop is missing or an event lost. Without --bundle it makes one that tells loud from quiet.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
from soak_bundle import write_bundle
from soak_core import DRAIN_S, EVENTS, JOURNAL, Acknowledged, Progress
from soak_report import Memory, SoakResult, draw_memory, fit_slope, print_result, summarise_hops, summarise_turns
from soak_watch import Told

from rep_edge.export.machine import describe_machine
from rep_edge.files import write_file
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sinks.jsonl import JsonLinesSink

CORE = Path(__file__).with_name("soak_core.py")
SAMPLE_S = 1.0
KILLS_S = (4.0, 90.0)
"""Least and mean time from a start to a kill."""
OUTAGE_S = (1.0, 20.0)
"""Stream time that passes while the core is away."""
WARM_UP = 0.1
"""Share of the undisturbed half that memory is given to settle."""
ANSWER_S = 30.0
"""A core that says nothing for so long is stuck."""


class Tally:
    """All that the cores told, one after the other."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.told: list[Told] = []
        self.windows = self.missing = self.lost = self.clips = 0
        self.stream_s = self.covered_s = 0.0
        self.heard_s = time.monotonic()

    def add(self, line: bytes) -> None:
        """One line of a core."""
        self.heard_s = time.monotonic()
        message = msgspec.json.decode(line, type=Acknowledged | Progress)
        if isinstance(message, Acknowledged):
            self.acknowledged.add(message.id)
            return
        self.covered_s += message.stream_s - self.stream_s
        self.stream_s = message.stream_s
        self.windows += message.windows
        self.missing += message.missing
        self.lost += message.lost
        self.clips += message.clips
        self.faults.update(message.faults)
        self.turns.update(message.turns)
        self.told += message.told


class Core:
    """A running core."""

    def __init__(self, bundle: Path, state: Path, seed: int, tally: Tally) -> None:
        command = [sys.executable, str(CORE), str(bundle), str(state), str(seed), str(tally.stream_s)]
        tally.heard_s = time.monotonic()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(tally,))
        self._reader.start()

    def _read(self, tally: Tally) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                tally.add(line)

    def pss_mib(self) -> float | None:
        """Its memory; None while it starts or ends."""
        try:
            text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        except OSError:
            return None
        found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
        return int(found[1]) / 1024 if found else None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing flushed."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """Let it finish what it does; its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(DRAIN_S + ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._end()

    def _end(self) -> int:
        code = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        return code


def soak(bundle: Path, state: Path, minutes: float, seed: int) -> SoakResult:
    """Run for so many minutes. Raises RuntimeError where the core ends by itself or gets stuck."""
    rng, tally = np.random.default_rng(seed), Tally()
    began_s, half_s = time.monotonic(), 30 * minutes
    samples: list[tuple[float, float]] = []
    restarts: list[float] = []
    core = Core(bundle, state, seed, tally)

    def passed_s() -> float:
        return time.monotonic() - began_s

    def draw_kill() -> float:
        mean_s = min(KILLS_S[1], half_s / 4)
        return passed_s() + KILLS_S[0] + float(rng.exponential(max(0.1, mean_s - KILLS_S[0])))

    try:
        kill_s = draw_kill()
        while passed_s() < 60 * minutes:
            time.sleep(min(SAMPLE_S, max(0.01, kill_s - passed_s())) if kill_s < half_s else SAMPLE_S)
            _check(core, tally)
            if kill_s < half_s and passed_s() >= kill_s:
                core.kill()
                restarts.append(passed_s())
                tally.stream_s += float(rng.uniform(*OUTAGE_S))
                core, kill_s = Core(bundle, state, seed + len(restarts), tally), draw_kill()
            elif (mib := core.pss_mib()) is not None:
                samples.append((passed_s(), mib))
        code = core.stop()
    except BaseException:
        core.kill()
        raise
    if code:
        raise RuntimeError(f"the core ended with {code}")
    quiet_s = max(half_s, restarts[-1] if restarts else 0.0)
    since_s = quiet_s + WARM_UP * (60 * minutes - quiet_s)
    slope, low, high = fit_slope([(at, mib) for at, mib in samples if at >= since_s])
    memory = Memory(samples=samples, restarts=restarts, since_s=since_s, slope=slope, low=low, high=high)
    return _result(tally, memory, bundle, state, seed, passed_s() / 60)


def _check(core: Core, tally: Tally) -> None:
    if not core.is_alive():
        raise RuntimeError("the core ended by itself; its last words are above")
    if time.monotonic() - tally.heard_s > ANSWER_S:
        raise RuntimeError(f"the core has said nothing for {ANSWER_S:g} s")


def _result(tally: Tally, memory: Memory, bundle: Path, state: Path, seed: int, minutes: float) -> SoakResult:
    """Compare what was acknowledged with what came out at the end."""
    delivered = Counter(msgspec.json.decode(line, type=Event).id for line in (state / EVENTS).read_bytes().splitlines())
    journal = Journal(state / JOURNAL)
    journal.register(JsonLinesSink.name)
    waiting = journal.behind(JsonLinesSink.name)
    journal.close()
    if waiting:
        raise RuntimeError(f"{waiting} events were not delivered within {DRAIN_S:g} s at the end")
    return SoakResult(
        machine=describe_machine(),
        bundle=bundle.name,
        seed=seed,
        wall_min=minutes,
        stream_h=tally.covered_s / 3600,
        windows=tally.windows,
        missing=tally.missing,
        faults=dict(sorted(tally.faults.items())),
        restarts=len(memory.restarts),
        turn_ms=summarise_turns(tally.turns),
        acknowledged=len(tally.acknowledged),
        delivered=len(delivered),
        twice=sum(count > 1 for count in delivered.values()),
        lost=tally.lost + len(tally.acknowledged - delivered.keys()),
        never_acknowledged=len(delivered.keys() - tally.acknowledged),
        clips=tally.clips,
        noticed=summarise_hops(tally.told, noticed=True),
        recovered=summarise_hops(tally.told, noticed=False),
        flapping=sum(one.flapping for one in tally.told),
        memory=memory,
    )


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or write_bundle(Path(folder) / "loudness")
        state = Path(folder) / "state"
        state.mkdir()
        result = soak(bundle, state, options.minutes, options.seed)
    print_result(result)
    write_file(options.out, msgspec.json.format(msgspec.json.encode(result), indent=1))
    draw_memory(result.memory, options.out.with_suffix(".png"))
    print(f"wrote {options.out} and {options.out.with_suffix('.png')}", file=sys.stderr)
    if result.missing or result.lost:
        print(f"error: {result.missing} hops are missing and {result.lost} events lost", file=sys.stderr)
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="Of wall time.")
    parser.add_argument("--bundle", type=Path, help="Folder that rep-edge export wrote.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/soak.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
