"""The whole service: sensors pulled and brought back, a new bundle, kill -9, and every event counted on both sides."""

from __future__ import annotations

import shutil
import signal
import urllib.error

import pytest
from bundles import WEIGHTS, make_bundle
from served import Served

from rep_edge.runtime.sinks.journal import Journal


def pattern(served: Served) -> str:
    said: str = served.node()["pattern"]
    return said


def journalled(served: Served) -> list[str]:
    journal = Journal(served.state / "journal.sqlite")
    ids = [event.id for _, event in journal.after(0, 100_000)]
    journal.close()
    return ids


def test_sensors_come_and_go_and_it_ends_in_order(served: Served) -> None:
    served.start()
    served.wait("ready", lambda: served.get("/readyz") == b"ready\n")
    served.wait("sound alone", lambda: pattern(served) == "acoustic")
    served.shake.start()
    served.wait("both", lambda: pattern(served) == "acoustic+seismic")
    served.shake.stop()
    served.wait("sound alone again", lambda: pattern(served) == "acoustic")
    seismic = served.node()["streams"][1]
    assert (seismic["state"], seismic["reason"]) == ("lost", "no_samples")
    served.shake.start()
    served.wait("both again", lambda: pattern(served) == "acoustic+seismic")
    served.wait("events", lambda: len(served.delivered()) > 3)
    assert b'rep_edge_stream_up{node="yard",stream="seismic"} 1.0' in served.get("/metrics")
    node = served.node()
    assert node["windows"] == sum(node["patterns"].values())
    code, told = served.end()
    assert code == 0, told
    ids = [event["id"] for event in served.delivered()]
    assert ids == journalled(served)
    phases = [event["phase"] for event in served.delivered()]
    assert phases.count("onset") == phases.count("end")
    assert list((served.state / "clips").iterdir())


def test_after_kill_9_no_acknowledged_event_is_missing_and_no_track_has_no_end(served: Served) -> None:
    served.shake.start()
    for _ in range(2):
        before = len(served.delivered()) if (served.folder / "events.jsonl").exists() else 0
        served.start()
        served.wait("events", lambda before=before: len(served.delivered()) > before + 2)  # type: ignore[misc]
        served.end(signal.SIGKILL)
    served.start()
    served.wait("ready", lambda: served.get("/readyz"))
    served.end()
    ids = journalled(served)
    delivered = list(dict.fromkeys(event["id"] for event in served.delivered()))
    assert delivered == ids
    phases = {event["id"]: event["phase"] for event in served.delivered()}
    assert list(phases.values()).count("onset") == list(phases.values()).count("end")


def test_a_damaged_new_bundle_is_refused_and_a_whole_one_is_taken_over(served: Served) -> None:
    served.start()
    served.wait("hearing", lambda: served.node()["windows"] > 2)
    shutil.rmtree(served.bundle)
    make_bundle(served.bundle, temperatures={"acoustic": 50.0})
    whole = (served.bundle / WEIGHTS).read_bytes()
    (served.bundle / WEIGHTS).write_bytes(whole[:-1])
    assert served.process
    served.process.send_signal(signal.SIGHUP)
    served.wait("refused", lambda: WEIGHTS in served.status()["reload_failed"])
    assert served.status()["reloads"] == 0
    windows = served.node()["windows"]
    served.wait("going on", lambda: served.node()["windows"] > windows)
    (served.bundle / WEIGHTS).write_bytes(whole)
    served.process.send_signal(signal.SIGHUP)
    served.wait("taken over", lambda: served.status()["reloads"] == 1)
    served.wait("the new answers", lambda: max(served.node()["probabilities"].values()) < 0.4)
    assert served.status()["reload_failed"] == ""


def test_two_services_do_not_share_a_state(served: Served) -> None:
    served.start()
    served.wait("ready", lambda: served.get("/readyz"))
    first, served.process = served.process, None
    served.start()
    code, told = served.end(signal.SIGCONT)
    served.process = first
    assert code == 1
    assert "another rep-edge serve uses it" in told.splitlines()[-1]


def test_what_is_asked_wrongly_over_http_changes_nothing(served: Served) -> None:
    served.start()
    served.wait("ready", lambda: served.get("/readyz"))
    for path in ("/api/clips/..%2f..%2fjournal.sqlite/x", "/assets/..%2f..%2fservice.py", "/api/waveform/yard/nothing"):
        with pytest.raises(urllib.error.HTTPError, match="40"):
            served.get(path)
    assert served.end()[0] == 0
