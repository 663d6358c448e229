"""What programs get of the service, and what of their requests is not taken."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from browser.pretend_service import PretendView
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from rep_edge.runtime.events.event import Event, Verdict
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.status import ServiceStatus
from rep_edge.runtime.service.web.app import make_app


def track_of(client: TestClient) -> str:
    return client.get("/api/events?limit=1").json()[0]["event"]["track"]


def test_the_status_is_the_struct(client: TestClient) -> None:
    status = msgspec.json.decode(client.get("/api/status").content, type=ServiceStatus)
    assert [node.name for node in status.nodes] == ["yard", "gate", "north fence"]


def test_hops_come_with_the_newest_last(client: TestClient) -> None:
    verdicts = msgspec.json.decode(client.get("/api/verdicts/north%20fence?limit=7").content, type=list[Verdict])
    assert len(verdicts) == 7
    assert sorted(verdicts, key=lambda verdict: verdict.end_s) == verdicts


def test_a_waveform_comes_as_columns(client: TestClient) -> None:
    drawn = client.get("/api/waveform/yard/seismic?seconds=10&columns=100").json()
    assert drawn["column_s"] == 0.1
    assert 95 <= len(drawn["low"]) == len(drawn["high"]) <= 110
    levels = np.frombuffer(base64.b64decode(drawn["spectrogram"]), np.uint8)
    assert levels.size == drawn["bands"] * len(drawn["low"])


def test_events_are_paged_by_time(client: TestClient) -> None:
    newest = client.get("/api/events?limit=5").json()
    older = client.get(f"/api/events?limit=5&before={newest[-1]['event']['start_s']}").json()
    starts = [heard["event"]["start_s"] for heard in (*newest, *older)]
    assert len(starts) == 10
    assert max(starts[5:]) < min(starts[:5])


def test_a_track_has_all_its_events(client: TestClient) -> None:
    told = client.get(f"/api/events/{track_of(client)}").json()
    events = msgspec.convert(told["events"], list[Event])
    assert [event.phase for event in events] == ["onset", "end"]
    assert told["mark"] is None


GARBAGE = ["", "x", "nan", "inf", "-inf", "-1", "0", "1e99", "1_0", "٣x", "%00", "1;2", "9" * 400]


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize(
    "path",
    [
        *("/api/waveform/yard/seismic?seconds=", "/api/waveform/yard/seismic?columns="),
        *("/api/verdicts/yard?limit=", "/api/events?limit=", "/api/events?before="),
    ],
)
def test_numbers_that_are_none_are_told(client: TestClient, path: str, value: str) -> None:
    answer = client.get(path + value)
    allowed = {200, 400} if value in {"1_0", "0"} else {400}
    assert answer.status_code in allowed
    if answer.status_code == 400:
        assert "must be a number from" in answer.json()["error"]


def test_a_mark_is_kept_and_seen(client: TestClient, view: PretendView) -> None:
    track = track_of(client)
    kept = client.post(f"/api/events/{track}/mark", json={"right": False, "label": "car", "note": "no wind"})
    assert kept.status_code == 200
    assert (view.kept[track].right, view.kept[track].label, view.kept[track].note) == (False, "car", "no wind")
    assert client.get("/api/events?limit=1").json()[0]["mark"]["label"] == "car"
    client.post(f"/api/events/{track}/mark", json={"right": True})
    assert client.get(f"/api/events/{track}").json()["mark"]["right"] is True


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"right": "yes"}', 400),
        (b'{"right": true, "more": 1}', 400),
        (b'{"right": false, "label": "dragon"}', 400),
        (b'{"right": true, "note": "%s"}' % (b"n" * 501), 400),
        (b'{"right": true, "note": "%s"}' % (b"n" * 5000), 413),
        (b"\xff\xfe", 400),
        (b"[" * 4000, 400),
    ],
)
def test_marks_that_are_none_are_told(client: TestClient, view: PretendView, content: bytes, status: int) -> None:
    answer = client.post(
        f"/api/events/{track_of(client)}/mark", content=content, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, view.kept) == (status, {})
    assert "\n" not in answer.json()["error"]


def test_only_the_page_itself_may_mark(client: TestClient, view: PretendView) -> None:
    path = f"/api/events/{track_of(client)}/mark"
    assert client.post(path, content=b'{"right":true}', headers={"content-type": "text/plain"}).status_code == 415
    for origin in ("http://elsewhere.example", "null", "http://localhost:1", "http://[::1"):
        assert client.post(path, json={"right": True}, headers={"origin": origin}).status_code == 403
    assert view.kept == {}
    assert client.post(path, json={"right": True}, headers={"origin": "http://localhost:8765"}).status_code == 200


def test_no_mark_for_a_track_that_is_not_there(client: TestClient) -> None:
    assert client.post("/api/events/yard-x/mark", json={"right": True}).status_code == 404


def test_clips_come_with_their_types(client: TestClient) -> None:
    at = f"/api/clips/{track_of(client)}"
    kinds = {
        name: client.get(f"{at}/{name}") for name in ("acoustic.flac", "seismic.mseed", "seismic.png", "clip.json")
    }
    assert [answer.headers["content-type"] for answer in kinds.values()] == [
        *("audio/flac", "application/vnd.fdsn.mseed", "image/png", "application/json")
    ]
    assert kinds["seismic.mseed"].headers["content-disposition"].startswith("attachment")


def test_sound_is_played_piece_by_piece(client: TestClient) -> None:
    answer = client.get(f"/api/clips/{track_of(client)}/acoustic.flac", headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, b"fLaC")


class Careless(PretendView):
    """A service that gives whatever file it is asked for."""

    def clip_file(self, track: str, name: str) -> Path | None:
        return self._folder / track / name


@pytest.mark.parametrize(
    "name", ["..%2fsecret.json", "%2e%2e/secret.json", "..\\secret.json", ".json", "a%00.json", "a.json%0a", "a.txt"]
)
def test_a_name_that_is_no_clips_is_not_even_looked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.json").write_text("secret")
    (tmp_path / "track").mkdir()
    client = TestClient(make_app(Careless(folder=tmp_path), None, Durations()), base_url="http://localhost")
    assert client.get(f"/api/clips/track/{name}").status_code == 404


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=st.text(st.characters(exclude_categories=["Cs"]), max_size=30), raw=st.booleans())
def test_no_path_is_a_fault(client: TestClient, path: str, raw: bool) -> None:
    tail = quote(path) if raw else quote(path, safe="/.%?&=;")
    for head in ("/", "/api/", "/api/events/", "/api/clips/yard-1/", "/api/clips/", "/api/verdicts/", "/assets/"):
        assert client.get(head + tail).status_code in {200, 400, 404, 405}
