"""A whole service while what is around it fails: a receiver that hangs, a full disk, a process at a stand, garbage."""

from __future__ import annotations

import json
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from served import Served

from rep_edge.runtime.sinks.journal import Journal


class Receiver:
    """A webhook's receiver that takes requests and answers none of them until it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()
        self.events: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.asked.set()
                receiver.let_go.wait(60)
                receiver.events += [event["id"] for event in body["events"]]
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


def sink(served: Served, name: str) -> Any:
    return next(sink for sink in served.status()["sinks"] if sink["name"] == name)


def journalled(served: Served) -> list[str]:
    journal = Journal(served.state / "journal.sqlite")
    ids = [event.id for _, event in journal.after(0, 100_000)]
    journal.close()
    return ids


def test_a_receiver_that_hangs_holds_up_nobody_else_and_gets_everything_later(
    served: Served, receiver: Receiver
) -> None:
    path = served.folder / "rep-edge.yaml"
    url = f"http://127.0.0.1:{receiver.server.server_port}/"
    sinks = f"sinks: {{jsonl: {{path: events.jsonl}}, webhook: {{url: '{url}', timeout_s: 60}}}}"
    path.write_text(path.read_text().replace("sinks: {jsonl: {path: events.jsonl}}", sinks))
    served.start()
    served.wait("asked", receiver.asked.is_set)
    windows = served.node()["windows"]
    served.wait("hops go on", lambda: served.node()["windows"] >= windows + 6)
    served.wait("the other sink goes on", lambda: sink(served, "jsonl")["delivered"] >= 3)
    assert sink(served, "webhook")["delivered"] == 0
    assert sink(served, "webhook")["behind"] >= 3
    receiver.let_go.set()
    served.wait("all of it", lambda: sink(served, "webhook")["behind"] == 0)
    assert served.end()[0] == 0
    assert receiver.events == [event["id"] for event in served.delivered()] == journalled(served)


def test_a_full_disk_costs_no_event(served: Served) -> None:
    served.start()
    served.wait("events", lambda: len(served.delivered()) >= 2)
    assert served.process
    least = min(path.stat().st_size for path in (served.state / "journal.sqlite-wal", served.folder / "events.jsonl"))
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (least, resource.RLIM_INFINITY))
    served.wait("events wait", lambda: sum(served.node()["events"].values()) >= _onsets(served) + 2)
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    delivered = len(served.delivered())
    served.wait("events again", lambda: len(served.delivered()) > delivered + 2)
    assert served.end()[0] == 0
    events = served.delivered()
    assert list(dict.fromkeys(event["id"] for event in events)) == journalled(served)
    for track in {event["track"] for event in events}:
        numbers = sorted({int(event["id"].rpartition(".")[2]) for event in events if event["track"] == track})
        assert numbers == list(range(len(numbers)))


def _onsets(served: Served) -> int:
    return sum(event["phase"] == "onset" for event in served.delivered())


def test_a_process_that_was_stopped_for_seconds_misses_no_hop(served: Served) -> None:
    served.shake.start()
    served.start()
    served.wait("both", lambda: served.node()["pattern"] == "acoustic+seismic")
    assert served.process
    served.process.send_signal(signal.SIGSTOP)
    time.sleep(3.0)
    served.process.send_signal(signal.SIGCONT)
    windows = served.node()["windows"]
    served.wait("hops go on", lambda: served.node()["windows"] >= windows + 10)
    served.wait("both again", lambda: served.node()["pattern"] == "acoustic+seismic")
    ends = [verdict["end_s"] for verdict in json.loads(served.get("/api/verdicts/yard?limit=100"))]
    steps = {round(later - earlier, 1) for earlier, later in zip(sorted(ends), sorted(ends)[1:], strict=False)}
    assert steps == {0.5}


def test_garbage_is_counted_and_harms_nobody(served: Served) -> None:
    served.shake.start()
    served.start()
    served.wait("both", lambda: served.node()["pattern"] == "acoustic+seismic")
    garbage = [b"", b"{'EHZ', 1e999, 1}", b"\0" * 1400, b"{'EHZ', 1588000000.1, " + b"9" * 60 + b"}", b"{'EHZ'" * 200]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for i in range(2000):
            sender.sendto(garbage[i % len(garbage)], ("127.0.0.1", served.shake._port))
    served.wait("it is counted", lambda: sum(served.node()["streams"][1]["refused"].values()) >= 5)
    windows = served.node()["windows"]
    served.wait("both go on", lambda: served.node()["windows"] >= windows + 4)
    assert served.node()["pattern"] == "acoustic+seismic"
    assert served.end()[0] == 0
