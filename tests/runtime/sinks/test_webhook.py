"""The webhook delivers to a real HTTP server, and knows which answers speak of the events and which do not."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from heard import event, eventually

from rep_edge.errors import InputError
from rep_edge.runtime.sinks.delivery import Delivery
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sinks.sink import RefusedError, SinkError
from rep_edge.runtime.sinks.webhook import ABOUT_THE_EVENTS, WebhookSettings, WebhookSink


class Server(ThreadingHTTPServer):
    """Answers with `answers` one after the other, then with 200; None: it does not answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int | None] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/in?x=1"

    def taken(self) -> list[str]:
        return [one["id"] for body in self.bodies for one in msgspec.json.decode(body)["events"]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.server.headers.append(dict(self.headers))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer is None:
            self.server.over.wait(20)
            return
        if answer == 200:
            self.server.bodies.append(body)
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def sink(server: Server, **settings: object) -> WebhookSink:
    secrets = {"TOKEN": "t0ken", "KEY": "k3y"}
    return WebhookSink(WebhookSettings(url=server.url, **settings), secrets.__getitem__)  # type: ignore[arg-type]


def test_events_arrive_as_one_json_object_and_are_signed(server: Server) -> None:
    sink(server, token_env="TOKEN", secret_env="KEY").deliver([event(1), event(2)])
    assert msgspec.json.decode(server.bodies[0]) == {"events": msgspec.to_builtins([event(1), event(2)])}
    assert server.paths == ["/in?x=1"]
    (headers,) = server.headers
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer t0ken"
    signature = hmac.new(b"k3y", server.bodies[0], hashlib.sha256).hexdigest()
    assert headers["X-Rep-Edge-Signature"] == f"sha256={signature}"


def test_nothing_is_signed_without_a_key(server: Server) -> None:
    sink(server).deliver([event(1)])
    assert not {"Authorization", "X-Rep-Edge-Signature"} & server.headers[0].keys()


@pytest.mark.parametrize("answer", [401, 403, 404, 408, 425, 429, 500, 503])
def test_answers_that_may_change_are_waited_for(server: Server, answer: int) -> None:
    server.answers = [answer]
    with pytest.raises(SinkError, match=rf"^127\.0\.0\.1:\d+ answers {answer} ") as caught:
        sink(server).deliver([event(1)])
    assert type(caught.value) is SinkError


@pytest.mark.parametrize("answer", ABOUT_THE_EVENTS)
def test_answers_that_speak_of_the_events_are_refusals(server: Server, answer: int) -> None:
    server.answers = [answer]
    with pytest.raises(RefusedError, match=f"answers {answer} "):
        sink(server).deliver([event(1)])


def test_a_redirection_is_not_followed(server: Server) -> None:
    server.answers = [302]
    with pytest.raises(SinkError, match="answers 302 Found, which is not followed"):
        sink(server, token_env="TOKEN").deliver([event(1)])
    assert server.paths == ["/in?x=1"]


def test_a_receiver_that_does_not_answer_is_given_up_in_time(server: Server) -> None:
    server.answers = [None]
    with pytest.raises(SinkError, match=r"no answer within 0\.05 s"):
        sink(server, timeout_s=0.05).deliver([event(1)])


def test_a_receiver_that_is_not_there_is_told_in_words(server: Server) -> None:
    gone = WebhookSink(WebhookSettings(url="http://127.0.0.1:1/"), str)
    with pytest.raises(SinkError, match=r"^127\.0\.0\.1:1: .*[Cc]onnection refused"):
        gone.deliver([event(1)])
    plain = sink(server)
    plain._is_secure = True
    with pytest.raises(SinkError, match="SSL"):
        plain.deliver([event(1)])


def test_after_failures_of_all_kinds_every_event_is_there_in_order(server: Server, tmp_path: Path) -> None:
    server.answers = [500, None, 429, 401, 200, 503, 302]
    receiver = sink(server, timeout_s=0.05)
    receiver.most_s = 0.01
    journal = Journal(tmp_path / "journal.sqlite")
    delivery = Delivery(journal, receiver, 0.001)
    for number in range(120):
        journal.append(event(number))
        delivery.wake()
    eventually(lambda: delivery.status().behind == 0)
    delivery.close(1.0)
    journal.close()
    assert server.taken() == [f"yard-{number}.0" for number in range(120)]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/path",
        "ftp://host/",
        "http://",
        "http://u:p@host/",
        "http://host:99999/",
        "http://ho st/",
        "http://a\n",
    ],
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r'^url: must be "https://host/path"'):
        WebhookSettings(url=url)


def test_a_timeout_must_be_above_0() -> None:
    with pytest.raises(ValueError, match=r"^timeout_s: must be above 0, not 0"):
        WebhookSettings(url="http://host/", timeout_s=0)


@pytest.mark.parametrize("token", ["t0k\nen", "tök"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(server: Server, token: str) -> None:
    with pytest.raises(InputError, match=r"^TOKEN: must hold a token of printable ASCII characters$"):
        WebhookSink(WebhookSettings(url=server.url, token_env="TOKEN"), {"TOKEN": token}.__getitem__)
