"""The server in its thread: a port that is taken is told, and it ends when it is closed."""

from __future__ import annotations

import socket
import sys
import threading
import urllib.error
import urllib.request

import pytest
from browser.pretend_service import PretendView

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.web.app import make_app
from rep_edge.runtime.service.web.opening import open_page
from rep_edge.runtime.service.web.server import WebServer


def test_it_answers_from_start_to_close(view: PretendView) -> None:
    server = open_page(view, Durations(), None, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.port}/healthz"
    assert urllib.request.urlopen(address, timeout=5).read() == b"alive\n"
    server.close()
    assert "web" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)


def test_a_port_can_be_taken_again_at_once(view: PretendView) -> None:
    with WebServer(make_app(view, None, Durations()), "127.0.0.1", 0) as first:
        urllib.request.urlopen(f"http://127.0.0.1:{first.port}/healthz", timeout=5).read()
    with WebServer(make_app(view, None, Durations()), "127.0.0.1", first.port) as second:
        assert second.port == first.port


def test_a_port_that_is_taken_is_told(view: PretendView) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"^web: 127.0.0.1:{port} cannot be listened on \(Address already in use\)"
        ):
            open_page(view, Durations(), None, "127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70000), ("no such host", 0)])
def test_a_place_that_is_none_is_told(view: PretendView, host: str, port: int) -> None:
    with pytest.raises(InputError, match=r"^web: "):
        open_page(view, Durations(), None, host, port)


def test_closing_what_was_not_started_is_nothing(view: PretendView) -> None:
    WebServer(make_app(view, None, Durations()), "127.0.0.1", 0).close()


def test_a_service_without_the_web_packages_says_what_to_install(
    view: PretendView, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("rep_edge.runtime.service.web.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rep-edge\[service\]"'):
        open_page(view, Durations(), None, "127.0.0.1", 0)
