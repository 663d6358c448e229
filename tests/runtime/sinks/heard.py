"""Events and states as a small service would tell them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.service.status import NodeStatus, ServiceStatus, StreamStatus
from rep_edge.runtime.sinks.sink import SinkError

START_S = 1_700_000_000.0


def event(track: int, number: int = 0, node: str = "yard", label: str = "Truck", **changes: object) -> Event:
    """The event of a track that began `track` seconds after START_S."""
    values = {
        "id": f"{node}-{track}.{number}",
        "track": f"{node}-{track}",
        "node": node,
        "phase": "update" if number else "onset",
        "label": label,
        "confidence": 0.8,
        "peak": 0.9,
        "start_s": START_S + track,
        "end_s": START_S + track + number + 1,
        "pattern": "acoustic+seismic",
        "windows": number + 1,
    }
    return Event(**(values | changes))


def status(**streams: str) -> ServiceStatus:
    """Of a service with one node, "yard", whose streams are in the states given."""
    figures = {
        **dict.fromkeys(("rate_hz", "seen_hz", "level", "last_sample_s", "offset_s", "drift_ppm"), 0.0),
        **dict.fromkeys(("gaps", "filled", "dropped", "reconnects"), 0),
    }
    told = tuple(
        StreamStatus(
            name=name, address="mic:", unit="1", state=state, reason="", told="", connection="", refused={}, **figures
        )
        for name, state in streams.items()
    )
    node = NodeStatus(
        name="yard",
        windows=9,
        without=0,
        pattern="acoustic",
        label="Truck",
        probabilities={},
        latency_s=0.01,
        lag_s=0.1,
        switches=0,
        patterns={},
        events={},
        tracks=(),
        why="",
        streams=told,
    )
    return ServiceStatus(
        version="1",
        started_s=START_S,
        now_s=START_S + 60,
        not_ready="",
        bundle="b",
        created="",
        backend="onnxruntime",
        precision="fp32",
        labels=("Truck",),
        hop_s=1.0,
        window_s=1.0,
        reloads=0,
        reload_failed="",
        journal_bytes=0,
        clips_bytes=0,
        nodes=(node,),
        sinks=(),
    )


class Receiver:
    """A sink of tests. `fails` may raise for what it is about to take."""

    name = "receiver"
    most_s = 0.01

    def __init__(self, fails: Callable[[Sequence[Event]], None] = lambda events: None) -> None:
        self.fails = fails
        self.taken: list[str] = []
        self.closed = threading.Event()

    def deliver(self, events: Sequence[Event]) -> None:
        if self.closed.is_set():
            raise SinkError("closed")
        self.fails(events)
        self.taken += [event.id for event in events]

    def close(self) -> None:
        self.closed.set()


def eventually(condition: Callable[[], object], within_s: float = 20.0) -> None:
    """Returns once it holds; fails where it does not in time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.005)
