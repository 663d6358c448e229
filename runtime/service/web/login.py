"""The form that takes the token and leaves a cookie in the browser."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rep_edge.runtime.service.web.guard import COOKIE, COOKIE_AGE_S, Token, sender
from rep_edge.runtime.service.web.requests import body, require_own_page

FORM = (Path(__file__).parent / "assets" / "login.html").read_text()


class Login:
    """GET and POST of /login. token: None where none is needed."""

    def __init__(self, token: Token | None) -> None:
        self._token = token

    async def show(self, request: Request) -> Response:
        """The empty form."""
        return HTMLResponse(FORM) if self._token else RedirectResponse("/", 303)

    async def enter(self, request: Request) -> Response:
        """The page, for the right token; the form again, with a line, for a wrong one."""
        require_own_page(request)
        offered = parse_qs(await body(request)).get(b"token", [b""])[0]
        if self._token is None:
            return RedirectResponse("/", 303)
        refusal = await self._token.refusal(sender(request), offered.strip())
        if refusal is not None:
            return HTMLResponse(FORM.replace('<p role="alert" hidden>', '<p role="alert">'), refusal.status_code)
        response = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, self._token.cookie, max_age=COOKIE_AGE_S, httponly=True, samesite="strict", secure=secure
        )
        return response
