"""The grammar of addresses: scheme:rest?option=value, and what of it people may see."""

from __future__ import annotations

import math
import re
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from rep_edge.errors import InputError

Word = TypeVar("Word", bound=str)

HIDDEN = "***"
"""What stands for a password wherever an address is told."""

_SECRET = re.compile(r"(?i)\b(pass(?:word|wd)?|pwd|token|secret)=[^&/\s]+")
_USER = re.compile(r"((?:mqtts?|rtsps?):(?://)?|//)([^\s:/@]*):\S*@")


def without_passwords(text: str) -> str:
    """The text with every password of an address in it hidden: "mqtt://ann:***@broker/levels"."""
    return _SECRET.sub(rf"\1={HIDDEN}", _USER.sub(rf"\1\2:{HIDDEN}@", text))


class Uri(NamedTuple):
    """An address in parts.

    told: all of it, without passwords; scheme: "" for "-" and a plain path; rest: what follows it, up to the "?",
    without leading "//"; options: name to value.
    """

    told: str
    scheme: str
    rest: str
    options: dict[str, str]

    def require_known(self, *names: str) -> None:
        """Raises InputError where an option is none of these."""
        for name in self.options:
            if name not in names:
                known = ", ".join(f"?{known}=" for known in names) or "none"
                raise InputError(f"{self.told}: {name} is no option of it; known are {known}")

    def number(self, name: str) -> float | None:
        """An option that is a number above 0; None where it is not given. Raises InputError for anything else."""
        text = self.options.get(name)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{self.told}: {name} must be a number above 0, not {text}")
        return value

    def choice(self, name: str, *choices: Word) -> Word:
        """An option that is one of a few words, the first one being the default. Raises InputError for another."""
        text = self.options.get(name, choices[0])
        for choice in choices:
            if text == choice:
                return choice
        raise InputError(f"{self.told}: {name} must be {' or '.join(choices)}, not {text}")


class Peer(NamedTuple):
    """Where on the network: "user:password@host:port/path". path: without the leading "/"."""

    host: str
    port: int
    path: str
    username: str | None
    password: str | None


def parse_uri(text: str, whole: tuple[str, ...] = ()) -> Uri:
    """Take an address apart; whole: schemes whose "?" is their own, so that it stays in `rest`.

    A text without a scheme is a path; so is one whose colon does not follow a word. Raises InputError for an option
    that is no NAME=VALUE or given twice.
    """
    told = without_passwords(text)
    match = re.match(r"([a-z]+):(//)?", text)
    scheme, rest = (match[1], text[match.end() :]) if match else ("", text)
    if scheme in whole:
        return Uri(told, scheme, rest, {})
    rest, separator, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if separator else []
    except ValueError as error:
        raise InputError(f"{told}: what follows the ? must be NAME=VALUE, joined by &") from error
    options = dict(pairs)
    if len(options) != len(pairs):
        raise InputError(f"{told}: an option is given twice")
    return Uri(told, scheme, rest, options)


def parse_peer(uri: Uri, host: str | None, port: int) -> Peer:
    """Host, port and path of an address, with defaults for what it leaves out; host None: it may not.

    Raises InputError for a port that is none, or no host.
    """
    try:
        parts = urlsplit(f"//{uri.rest}")
        found = Peer(
            parts.hostname or host or "",
            port if parts.port is None else parts.port,
            uri.rest.partition("/")[2],
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
        )
    except ValueError as error:
        raise InputError(f"{uri.told}: must be {uri.scheme}:HOST:PORT, the port from 1 to 65535") from error
    if not found.host or not found.port:
        raise InputError(f"{uri.told}: must be {uri.scheme}:HOST:PORT, the port from 1 to 65535")
    return found
