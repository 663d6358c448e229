"""Which paths there are, and what each answers."""

from __future__ import annotations

import re

import pytest
from browser.pretend_service import PretendView
from starlette.testclient import TestClient

from rep_edge.runtime.service.web.app import ASSETS


def test_the_page_and_all_that_it_names_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
    assert named
    assert all(client.get(path).status_code == 200 for path in named)


def test_scripts_import_scripts_that_are_there_and_nothing_from_elsewhere() -> None:
    for script in ASSETS.glob("*.js"):
        for name in re.findall(r'from "([^"]+)"', script.read_text()):
            assert name.startswith("./")
            assert (ASSETS / name).is_file()


def test_no_asset_reaches_out_or_writes_markup() -> None:
    for asset in ASSETS.iterdir():
        text = asset.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), (
            asset.name
        )


def test_assets_lie_flat_as_the_package_data_says() -> None:
    assert all(path.is_file() for path in ASSETS.iterdir())


def test_it_is_ready_once_the_service_says_so(client: TestClient, view: PretendView) -> None:
    assert client.get("/healthz").text == "alive\n"
    assert client.get("/readyz").status_code == 200
    view.not_ready = "no sensor has delivered yet"
    refused = client.get("/readyz")
    assert (refused.status_code, refused.text) == (503, "no sensor has delivered yet\n")
    assert client.get("/healthz").status_code == 200


def test_metrics_are_prometheus_text(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'rep_edge_stream_up{node="yard",stream="acoustic"} 1.0' in answer.text


def test_every_answer_tells_browsers_to_be_careful(client: TestClient) -> None:
    for path in ("/", "/assets/app.js", "/api/status", "/nowhere", "/healthz"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        *("/nowhere", "/api", "/api/", "/api/nowhere", "/api/verdicts/nobody", "/api/waveform/yard/magnetic"),
        *(
            "/api/waveform/nobody/acoustic",
            "/api/stream?node=nobody",
            "/api/events/none-1",
            "/api/clips/none-1/clip.json",
        ),
        *("/assets/../app.py", "/assets/%2e%2e/app.py", "/assets/..%2fapp.py", "/assets/%00", "/assets/"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


def test_another_method_is_told_in_one_line(client: TestClient) -> None:
    assert client.post("/api/status").status_code == 405
    assert client.get("/api/events/yard-1/mark").json() == {"error": "Method Not Allowed"}
