"""The web application: which path is answered by what."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.web.api import Api
from rep_edge.runtime.service.web.exposition import CONTENT_TYPE, Exposition
from rep_edge.runtime.service.web.guard import Guard, Token
from rep_edge.runtime.service.web.login import Login
from rep_edge.runtime.service.web.requests import told
from rep_edge.runtime.service.web.stream import Streams
from rep_edge.runtime.service.web.view import View

ASSETS = Path(__file__).parent / "assets"


def make_app(view: View, token: str | None, durations: Durations) -> Starlette:
    """The page and its API over a service.

    token: what opens it; None: only requests to this machine's own names are answered. `state.streams.closing` is to be
    set before the server is stopped: `WebServer` does.
    """
    secret = Token(token) if token is not None else None
    api, login, streams = Api(view), Login(secret), Streams(view)
    exposition = Exposition(view.status, durations, lambda: secret.wrong if secret else 0)

    def page(request: Request) -> Response:
        return FileResponse(ASSETS / "index.html")

    def healthy(request: Request) -> Response:
        return PlainTextResponse("alive\n")

    def ready(request: Request) -> Response:
        not_ready = view.status().not_ready
        return PlainTextResponse(f"{not_ready or 'ready'}\n", 503 if not_ready else 200)

    def metrics(request: Request) -> Response:
        return Response(exposition.text(), headers={"content-type": CONTENT_TYPE})

    routes = [
        Route("/", page),
        Mount("/assets", StaticFiles(directory=ASSETS)),
        Route("/login", login.show),
        Route("/login", login.enter, methods=["POST"]),
        Route("/healthz", healthy),
        Route("/readyz", ready),
        Route("/metrics", metrics),
        Route("/api/status", api.status),
        Route("/api/stream", streams.open),
        Route("/api/verdicts/{node}", api.verdicts),
        Route("/api/waveform/{node}/{stream}", api.waveform),
        Route("/api/events", api.events),
        Route("/api/events/{track}", api.track),
        Route("/api/events/{track}/mark", api.mark, methods=["POST"]),
        Route("/api/clips/{track}/{file}", api.clip),
    ]
    app = Starlette(
        routes=routes, middleware=[Middleware(Guard, token=secret)], exception_handlers={HTTPException: told}
    )
    app.state.streams = streams
    return app
