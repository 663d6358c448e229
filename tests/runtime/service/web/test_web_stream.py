"""Server-sent events: what a page is told, how many may listen, and that they end."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import msgspec
import pytest
from browser.pretend_service import PretendView
from starlette.requests import Request
from starlette.types import Message

from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.web import stream
from rep_edge.runtime.service.web.app import make_app
from rep_edge.runtime.service.web.server import WebServer


@pytest.fixture
def server(view: PretendView) -> Iterator[WebServer]:
    with WebServer(make_app(view, None, Durations()), "127.0.0.1", 0) as server:
        yield server


@contextlib.contextmanager
def listening(server: WebServer, path: str = "/api/stream?node=yard") -> Iterator[HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    yield connection.getresponse()
    connection.close()


def messages(answer: HTTPResponse) -> Iterator[tuple[str, object]]:
    """(event, content) of each message, until the stream ends."""
    event = ""
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, msgspec.json.decode(value)


def told(view: PretendView, news: stream.News) -> list[str]:
    return [message.split(b"\n")[0].removeprefix(b"event: ").decode() for message in news.take()]


def test_a_page_is_told_the_status_the_hops_and_the_columns_of_its_node(server: WebServer) -> None:
    with listening(server) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        heard = messages(answer)
        first = [next(heard) for _ in range(4)]
    assert [event for event, _ in first] == ["status", "verdicts", "columns", "columns"]
    drawn = [content for event, content in first if event == "columns"]
    assert [content["stream"] for content in drawn] == ["acoustic", "seismic"]
    assert 590 <= len(drawn[0]["columns"]["low"]) <= 660


def test_it_goes_on_where_it_was(view: PretendView) -> None:
    news = stream.News(view, "yard")
    columns = []
    for _ in range(2):
        for message in news.take():
            event, data, *_ = message.decode().split("\n")
            if event == "event: columns" and '"acoustic"' in data:
                columns.append(msgspec.json.decode(data.removeprefix("data: "))["columns"])
        time.sleep(0.15)
    assert columns[1]["first"] == columns[0]["first"] + len(columns[0]["low"])


def test_what_did_not_change_is_not_told_again_until_silence_is_too_long(
    view: PretendView, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = view.status()
    monkeypatch.setattr(view, "status", lambda: msgspec.structs.replace(status, now_s=time.time()))
    news = stream.News(view, None)
    assert told(view, news) == ["status"]
    assert told(view, news) == []
    monkeypatch.setattr(stream, "SILENCE_S", -1.0)
    assert told(view, news) == ["status"]


def test_a_change_of_state_is_told(server: WebServer, view: PretendView) -> None:
    with listening(server, "/api/stream") as answer:
        heard = messages(answer)
        next(heard)
        view.fail("gate", "seismic", "lost", "silent", "no samples for 2.0 s")
        states = (content["nodes"][1]["streams"][1]["state"] for _, content in heard)
        assert next(state for state in states if state != "live") == "lost"


def test_only_so_many_may_listen(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_CLIENTS", 2)
    with listening(server) as one, listening(server) as two:
        next(messages(one)), next(messages(two))
        with listening(server) as three:
            assert three.status == 503
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with listening(server) as four:
            if four.status == 200:
                return
    pytest.fail("those that went away still count")


def test_all_end_when_the_server_does(server: WebServer) -> None:
    with listening(server) as answer:
        heard = messages(answer)
        next(heard)
        begun = time.monotonic()
        server.close()
        assert all(event for event, _ in heard)  # Ends, without a cut in the middle of a message.
        assert time.monotonic() - begun < 2


def test_a_reader_that_takes_nothing_is_given_up(view: PretendView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SEND_S", 0.05)
    streams = stream.Streams(view)

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def read() -> None:
        request = Request({"type": "http", "query_string": b"", "headers": []})
        answer = await streams.open(request)
        await answer({"type": "http"}, receive, send)

    asyncio.run(asyncio.wait_for(read(), 5))
    assert streams.listening == 0
