"""The door to the web packages: nothing else imports them, so that a service without a page does without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rep_edge.errors import MissingExtraError
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.web.view import View

if TYPE_CHECKING:
    from rep_edge.runtime.service.web.server import WebServer


def open_page(view: View, durations: Durations, token: str | None, host: str, port: int) -> WebServer:
    """The page of a service, answering; close it in the end.

    token: what opens it; None: only for this machine. Raises MissingExtraError without the web packages, InputError
    where the port is taken.
    """
    try:
        from rep_edge.runtime.service.web.app import make_app
        from rep_edge.runtime.service.web.server import WebServer
    except ImportError as error:
        raise MissingExtraError("service", error.name or "starlette") from error
    server = WebServer(make_app(view, token, durations), host, port)
    server.start()
    return server
