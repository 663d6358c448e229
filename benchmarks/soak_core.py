"""The service's core in a process of its own, as fast as it goes: soak.py starts it, watches it and kills it.

    python benchmarks/soak_core.py BUNDLE STATE SEED STREAM_S

Standard output is a pipe of JSON lines: an event once it is acknowledged, and how things stand. It ends when standard
input does.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

# Before any library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
from soak_sensors import segments
from soak_watch import Told, Watch

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.clips import Clips, ClipSettings
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.events.track_settings import TrackSettings
from rep_edge.runtime.health import HealthLimits
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.service.loop import Loop, Member
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.node import ClipSpan, Node, NodeSettings
from rep_edge.runtime.service.outlets import Outlets
from rep_edge.runtime.service.unfinished import end_unfinished
from rep_edge.runtime.sinks.delivery import Delivery
from rep_edge.runtime.sinks.journal import Journal, JournalSettings
from rep_edge.runtime.sinks.jsonl import JsonLinesSettings, JsonLinesSink
from rep_edge.runtime.sinks.sink import SinkError
from rep_edge.runtime.sources.feed import Feed
from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.symptoms import limits_of
from rep_edge.runtime.windows import StreamSettings
from rep_edge.signals import Stream

EVENTS, JOURNAL = "events.jsonl", "journal.sqlite"
CLIPS = ClipSettings(keep_mb=20.0)
TURN_S = 0.1
"""Stream time between two turns of the loop."""
STALLS = 1 / 3000
"""Share of the turns after which the loop stands still, up to LONGEST_STALL_S of stream time."""
LONGEST_STALL_S = 8.0
WALL_S = 1_700_000_000.0
"""Stream second 0 in s since 1970."""
REPORT_S = 0.5
PRUNE_S = 1800.0
DRAIN_S = 60.0
PER_DECADE = 100
"""Bins of turn times per factor of ten."""


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged"):
    """The journal has this event on the disk."""

    id: str


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """What has come since the line before, but for stream_s. turns: bin of the time that a turn with a hop took ->
    count; lost: events that neither disk nor backlog took."""

    stream_s: float
    windows: int
    missing: int
    faults: dict[str, int]
    told: list[Told]
    turns: dict[int, int]
    lost: int
    clips: int


class ToldJournal(Journal):
    """Says of each event that it is on the disk."""

    def append(self, event: Event) -> int:
        sequence = super().append(event)
        tell(Acknowledged(event.id))
        return sequence


class UnsteadySink(JsonLinesSink):
    """A receiver that is away now and then, has events without saying so, or takes its time."""

    most_s = 0.5

    def deliver(self, events: Sequence[Event]) -> None:
        chance = np.random.default_rng().random()
        if chance < 0.02:
            raise SinkError("away")
        super().deliver(events)
        if chance < 0.04:
            raise SinkError("has them, and has not said so")
        if chance < 0.05:
            time.sleep(1.0)


class WatchedNode(Node):
    """Shows every prediction to the watch."""

    watch: Watch

    def finish(self, prediction: Prediction, wall_offset_s: float) -> list[Event]:
        self.watch.see(prediction)
        return super().finish(prediction, wall_offset_s)


class Queue:
    """A feed without a sensor: the loop takes what was put."""

    def __init__(self, modality: Stream) -> None:
        self.address = "soak:"
        self.connection, self.rate_hz, self.dropped, self.reconnects = "connected", modality.rate_hz, 0, 0
        self.refused: dict[str, int] = {}
        self.waiting: list[Chunk] = []

    def take(self) -> list[Chunk]:
        taken, self.waiting = self.waiting, []
        return taken

    def reconnect(self, reason: str) -> None:
        self.reconnects += 1


class Core:
    """Everything between sensors and disk, as `serve` puts it together."""

    def __init__(self, bundle: Path, state: Path) -> None:
        self.classifier = Classifier.load(bundle, backend="onnxruntime-cpu", precision="fp32")
        spec = self.classifier.spec
        self.journal = ToldJournal(state / JOURNAL, JournalSettings(keep_mb=20.0))
        end_unfinished(self.journal)
        self.clips = Clips(state / "clips", spec, CLIPS)
        sink = UnsteadySink(JsonLinesSettings(path=Path(EVENTS), rotate_mb=1e6), state)
        self.delivery = Delivery(self.journal, sink, first_s=0.05)
        limits = limits_of(self.classifier.bundle.manifest, HealthLimits())
        clip = ClipSpan(CLIPS.before_s, CLIPS.after_s, CLIPS.longest_s)
        self.node = WatchedNode(
            "soak", spec, self.classifier.labels, NodeSettings(StreamSettings(), limits, TrackSettings(), {}, clip)
        )
        self.watch = self.node.watch = Watch(spec.hop_s)
        self.queues = {m.name: Queue(m) for m in spec.streams}
        member = Member(self.node, cast("dict[str, Feed]", self.queues))
        outlets = Outlets(self.journal, self.clips, (sink,), (self.delivery,))
        self.loop = Loop([member], self.classifier, outlets, Durations())

    def close(self, now_s: float) -> None:
        self.loop.finish(now_s, WALL_S)
        self.delivery.wake()
        self.delivery.close(DRAIN_S)
        self.clips.close()
        self.journal.close()
        self.classifier.close()


def run(core: Core, seed: int, start_s: float, stop: threading.Event) -> None:
    """Play the sensors to the core until `stop` is set."""
    rng = np.random.default_rng()
    report = Report(core)
    turn_s, prune_s = start_s, start_s
    for segment in segments(core.node.spec, seed, start_s):
        core.watch.expect(segment.faults, segment.start_s)
        report.faults.update(fault.kind for fault in segment.faults)
        for name, chunk in segment.deliveries:
            while chunk.arrived_s > turn_s:
                report.timed_turn(turn_s)
                turn_s += TURN_S if rng.random() > STALLS else rng.uniform(TURN_S, LONGEST_STALL_S)
                if stop.is_set():
                    core.close(turn_s)
                    report.tell(turn_s)
                    return
            core.queues[name].waiting.append(chunk)
        if turn_s - prune_s > PRUNE_S:
            prune_s = turn_s
            core.journal.prune(WALL_S + turn_s)
            core.clips.prune(WALL_S + turn_s, set())


class Report:
    """Turns the loop, and says now and then how it went."""

    def __init__(self, core: Core) -> None:
        self._core, self._told_s = core, time.monotonic()
        self.faults: Counter[str] = Counter()
        self._turns: Counter[int] = Counter()
        self._before = (0, 0, 0, 0)

    def timed_turn(self, now_s: float) -> None:
        before, began_s = self._core.watch.windows, time.perf_counter()
        self._core.loop.turn(now_s, WALL_S)
        took_s = time.perf_counter() - began_s
        if self._core.watch.windows > before:
            self._turns[round(PER_DECADE * math.log10(took_s))] += 1
        if time.monotonic() - self._told_s > REPORT_S:
            self._told_s = time.monotonic()
            self.tell(now_s)

    def tell(self, now_s: float) -> None:
        core = self._core
        counts = (core.watch.windows, core.watch.missing, core.loop.lost, core.clips.written)
        windows, missing, lost, clips = (now - before for now, before in zip(counts, self._before, strict=True))
        tell(
            Progress(
                stream_s=now_s,
                windows=windows,
                missing=missing,
                faults=dict(self.faults),
                told=core.watch.told,
                turns=dict(self._turns),
                lost=lost,
                clips=clips,
            )
        )
        self._before, core.watch.told = counts, []
        self.faults.clear()
        self._turns.clear()


def tell(message: Acknowledged | Progress) -> None:
    """A line into the pipe, all at once: a kill may come at any time."""
    os.write(1, msgspec.json.encode(message) + b"\n")


def main() -> None:
    bundle, state, seed, start_s = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    stop = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    run(Core(Path(bundle), Path(state)), int(seed), float(start_s), stop)


if __name__ == "__main__":
    main()
