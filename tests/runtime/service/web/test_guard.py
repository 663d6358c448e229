"""Who may look: with a token those who know it, without one only this machine."""

from __future__ import annotations

import logging

import pytest
from starlette.testclient import TestClient

from rep_edge.errors import InputError
from rep_edge.runtime.service.web import guard

RIGHT = {"authorization": "Bearer open sesame"}
PRIVATE = (
    "/",
    "/metrics",
    "/api/status",
    "/api/stream",
    "/api/events",
    "/assets/app.js",
    "/nowhere",
    "//",
    "/login/..",
)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SLOW_S", 0.001)


@pytest.mark.parametrize("path", PRIVATE)
def test_with_a_token_nothing_is_told_to_strangers(locked: TestClient, path: str) -> None:
    answer = locked.get(path)
    assert answer.status_code in {303, 401}
    assert "vehicles" not in answer.text


@pytest.mark.parametrize("offered", ["Bearer", "Bearer x", "Basic open sesame", "open sesame", "Bearer open sesame x"])
def test_another_token_opens_nothing(locked: TestClient, offered: str) -> None:
    assert locked.get("/api/status", headers={"authorization": offered}).status_code == 401


def test_tokens_of_any_bytes_are_refused_without_a_fault(locked: TestClient) -> None:
    offered = [(b"authorization", b"Bearer \xff\xfe\x80"), (b"cookie", b"rep_edge=\xff\xc3")]
    assert locked.get("/api/status", headers=offered).status_code == 401


def test_the_token_opens_everything(locked: TestClient) -> None:
    for path in ("/", "/metrics", "/api/status", "/assets/app.js"):
        assert locked.get(path, headers=RIGHT).status_code == 200


def test_health_needs_no_token_and_no_name(locked: TestClient, client: TestClient) -> None:
    for path in ("/healthz", "/readyz"):
        assert locked.get(path).status_code == 200
        assert client.get(path, headers={"host": "10.0.0.7:8765"}).status_code == 200


def test_the_form_gives_a_cookie_that_scripts_and_other_sites_do_not_see(locked: TestClient) -> None:
    assert locked.get("/").headers["location"] == "/login"
    assert locked.get("/assets/style.css").status_code == 200
    assert '<p role="alert" hidden>' in locked.get("/login").text
    entered = locked.post("/login", data={"token": "open sesame"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=strict" in entered.headers["set-cookie"]
    assert "open sesame" not in entered.headers["set-cookie"]
    assert locked.get("/api/status").status_code == 200


def test_the_form_says_that_a_token_is_wrong(locked: TestClient) -> None:
    answer = locked.post("/login", data={"token": "open barley"})
    assert answer.status_code == 401
    assert '<p role="alert">' in answer.text
    assert "set-cookie" not in answer.headers


def test_another_site_cannot_log_a_browser_in(locked: TestClient) -> None:
    answer = locked.post("/login", data={"token": "open sesame"}, headers={"origin": "http://elsewhere.example"})
    assert answer.status_code == 403


def test_wrong_tokens_are_counted_and_logged_at_a_bounded_rate(
    locked: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "rep_edge.web"):
        for _ in range(5):
            locked.get("/api/status", headers={"authorization": "Bearer guess"})
    assert [record.message for record in caplog.records] == ["the page was offered a wrong token from testclient"]
    assert "rep_edge_wrong_tokens_total 5.0" in locked.get("/metrics", headers=RIGHT).text


def test_an_empty_token_is_a_mistake() -> None:
    with pytest.raises(InputError, match="the token is empty"):
        guard.Token("")


@pytest.mark.anyio
async def test_whoever_guessed_wrong_is_not_heard_until_that_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    token, meanwhile = guard.Token("open sesame"), []

    async def sleep(_: float) -> None:
        meanwhile.append(await token.refusal("10.0.0.9", b"open sesame"))
        meanwhile.append(await token.refusal("10.0.0.7", b"open sesame"))

    monkeypatch.setattr(guard.asyncio, "sleep", sleep)
    refused = await token.refusal("10.0.0.9", b"guess")
    assert refused is not None
    assert refused.status_code == 401
    assert [answer and answer.status_code for answer in meanwhile] == [429, None]
    assert await token.refusal("10.0.0.9", b"open sesame") is None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8765", "127.0.0.2", "[::1]:8765", "LOCALHOST"])
def test_without_a_token_this_machine_may_look(client: TestClient, host: str) -> None:
    assert client.get("/api/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "127.0.0.1.elsewhere.example", "10.0.0.7:8765", "", "[::1", "a@b:c"]
)
def test_without_a_token_other_names_of_this_machine_are_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/status", headers={"host": host})
    assert answer.status_code == 403
    assert "localhost" in answer.json()["error"]


def test_without_a_token_there_is_no_form(client: TestClient) -> None:
    assert client.get("/login", follow_redirects=False).headers["location"] == "/"
