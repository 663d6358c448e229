"""Events as JSON in HTTP requests to one address."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import math
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from rep_edge.errors import InputError
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.sinks.sink import RefusedError, SinkError

ABOUT_THE_EVENTS = (400, 409, 413, 415, 422)
"""Answers that speak of what was sent. All others but 2xx speak of the receiver, the address or the token (401, 403,
404, 429, 5xx ...), and may go away: the events wait."""

MOST_ANSWER_BYTES = 4096


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver of POST requests, {"events": [...]}; it has them once it answers 2xx.

    url: "https://host/path"; redirections are not followed.
    token_env: the environment variable that holds a token, sent as "Authorization: Bearer <token>".
    secret_env: the environment variable that holds the key of a signature: "X-Rep-Edge-Signature: sha256=<hex>" is
    the HMAC-SHA256 (RFC 2104) of the request's body.
    timeout_s: how long the receiver may take to answer.
    """

    url: str
    token_env: str | None = None
    secret_env: str | None = None
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise ValueError('url: must be "https://host/path" or "http://host/path", without a user or password')
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise ValueError(f"timeout_s: must be above 0, not {self.timeout_s}")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


class WebhookSink:
    """One request for each batch.

    Raises RefusedError for the answers in ABOUT_THE_EVENTS, SinkError for all others but 2xx and where there is none;
    InputError, when it is made, for a token that no header can hold.
    """

    name = "webhook"
    most_s = 300.0

    def __init__(self, settings: WebhookSettings, secrets: Callable[[str], str]) -> None:
        parts = urlsplit(settings.url)
        self._settings, self._host, self._is_secure = settings, parts.netloc, parts.scheme == "https"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._token = secrets(settings.token_env) if settings.token_env else ""
        if not (self._token.isascii() and self._token.isprintable()):
            raise InputError(f"{settings.token_env}: must hold a token of printable ASCII characters")
        self._key = secrets(settings.secret_env).encode() if settings.secret_env else b""

    def deliver(self, events: Sequence[Event]) -> None:
        body = msgspec.json.encode({"events": events})
        status, reason = self._post(body)
        if 200 <= status < 300:
            return
        told = f"{self._host} answers {status} {reason}"
        if 300 <= status < 400:
            raise SinkError(f"{told}, which is not followed; give the address where it leads to")
        raise RefusedError(told) if status in ABOUT_THE_EVENTS else SinkError(told)

    def close(self) -> None:
        """Nothing is held open."""

    def _post(self, body: bytes) -> tuple[int, str]:
        """Status and its words."""
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        connection = kind(self._host, timeout=self._settings.timeout_s)
        try:
            connection.request("POST", self._target, body, self._headers(body))
            answer = connection.getresponse()
            answer.read(MOST_ANSWER_BYTES)
            return answer.status, "".join(c for c in answer.reason[:80] if c.isprintable())
        except TimeoutError as error:
            raise SinkError(f"{self._host}: no answer within {self._settings.timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise SinkError(f"{self._host}: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "rep-edge"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._key:
            headers["X-Rep-Edge-Signature"] = f"sha256={hmac.new(self._key, body, hashlib.sha256).hexdigest()}"
        return headers
