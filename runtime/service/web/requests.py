"""What a request may ask for, and how it is told that it may not: one line, never a traceback."""

from __future__ import annotations

import math

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MOST_BODY_BYTES = 4096
"""Largest body of a request, in bytes."""


def number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number of the query; the default where it is not there. Another kind of thing is told with 400."""
    asked = request.query_params.get(name)
    if asked is None:
        return default
    try:
        value = float(asked)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise HTTPException(400, f"{name}: must be a number from {low:g} to {high:g}")
    return value


async def body(request: Request) -> bytes:
    """The body of a request; 413 where it is too large."""
    read = b""
    async for piece in request.stream():
        read += piece
        if len(read) > MOST_BODY_BYTES:
            raise HTTPException(413, f"the body must be at most {MOST_BODY_BYTES} bytes")
    return read


def require_own_page(request: Request) -> None:
    """403 for what another site's page sent: browsers name the page that a POST comes from."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise HTTPException(403, "this comes from another site's page")


def json_response(content: object, status: int = 200) -> Response:
    """Plain structs as JSON, which no cache keeps."""
    return Response(
        msgspec.json.encode(content), status, headers={"cache-control": "no-store"}, media_type="application/json"
    )


async def told(request: Request, error: Exception) -> Response:
    """An error as JSON of one line."""
    assert isinstance(error, HTTPException)
    response = json_response({"error": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response
