"""Who may look: the token, or where there is none, only this machine; and the headers that keep a browser careful."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable

from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rep_edge.errors import InputError
from rep_edge.runtime.notices import Notices
from rep_edge.runtime.service.web.requests import json_response

LOGGER = logging.getLogger("rep_edge.web")

COOKIE = "rep_edge"
COOKIE_AGE_S = 30 * 24 * 3600

OPEN_PATHS = {"/healthz", "/readyz"}
"""What monitors ask, who know no token and call the machine by any name."""
LOGIN_PATHS = {"/login", "/assets/style.css", "/assets/icon.svg"}
"""What it takes to offer a token."""

SLOW_S = 1.0
"""How long the answer to a wrong token takes, in s; its sender is not heard before."""

HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Token:
    """The secret that opens the page, and those who guess at it. Raises InputError for an empty one."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise InputError("web: the token is empty; set one, or none at all for a page on this machine alone")
        self._secret = secret.encode()
        self._notices = Notices(LOGGER)
        self._slowed: set[str] = set()
        self.wrong = 0
        self.cookie = hmac.new(self._secret, b"cookie of the page", hashlib.sha256).hexdigest()

    async def refusal(self, sender: str, offered: bytes) -> Response | None:
        """None for the right token. A wrong one is counted, and answered late; meanwhile its sender is told to wait."""
        if sender in self._slowed:
            return json_response({"error": "too many wrong tokens; wait"}, 429)
        if hmac.compare_digest(offered, self._secret):
            return None
        self.wrong += 1
        self._notices.tell("wrong token", f"the page was offered a wrong token from {sender}")
        self._slowed.add(sender)
        try:
            await asyncio.sleep(SLOW_S)
        finally:
            self._slowed.discard(sender)
        return json_response({"error": "wrong token"}, 401)

    def is_cookie(self, offered: str) -> bool:
        """Whether a browser offers the cookie that it was given for the right token.

        The cookie is 256 bits wide, so that guessing need not be slowed.
        """
        return hmac.compare_digest(offered.encode(), self.cookie.encode())


class Guard:
    """The outermost layer of the app. token: None where only this machine may look."""

    def __init__(self, app: ASGIApp, token: Token | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        careful = _with_headers(send)
        refusal = await self._refusal(HTTPConnection(scope))
        await (refusal or self._app)(scope, receive, careful)

    async def _refusal(self, request: HTTPConnection) -> Response | None:
        path = request.scope["path"]
        if path in OPEN_PATHS:
            return None
        if self._token is None:
            return None if _is_loopback(request.headers) else json_response({"error": NOT_LOOPBACK}, 403)
        if path in LOGIN_PATHS or self._token.is_cookie(request.cookies.get(COOKIE, "")):
            return None
        kind, _, offered = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return await self._token.refusal(sender(request), offered.strip().encode("latin-1"))
        if path == "/":
            return RedirectResponse("/login", 303)
        return json_response({"error": "a token is needed: Authorization: Bearer, or log in at /login"}, 401)


NOT_LOOPBACK = "without a token the page is for this machine alone: ask for localhost, or set a token"


def sender(request: HTTPConnection) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client else "?"


def _is_loopback(headers: Headers) -> bool:
    """Whether the browser asked for this machine by a name that no foreign name server can have made up."""
    try:
        host = URL(f"http://{headers.get('host', '')}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def careful(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("cache-control", "no-cache")
        await send(message)

    return careful
