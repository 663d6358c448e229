"""What nobody may read: taken from the environment, and blanked wherever it could be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

VARIABLE = re.compile(r"\$\{([^}]*)\}?")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BLANK = "***"

WORDS = r"(?:passw(?:or)?d|passphrase|secret|token|api_?key|authorization|credential)"
"""Names of things that are secret; those that end in _env hold a variable's name, which is not."""

SECRETS = (
    (re.compile(r"(://)[^\s\"'<>]{0,500}@"), rf"\1{BLANK}@"),
    (re.compile(rf"([?&][^=&\s]{{0,40}}{WORDS}[^=&\s]{{0,40}}=)[^&\s\"'#]*", re.IGNORECASE), rf"\1{BLANK}"),
    (re.compile(r"(\b(?:bearer|basic) )[\w.~+/=-]+", re.IGNORECASE), rf"\1{BLANK}"),
    (re.compile(rf"({WORDS}[\"']?[:=][ \t]*([\"']))(?:(?!\2).)*", re.IGNORECASE), rf"\1{BLANK}"),
    (re.compile(rf"({WORDS}[\"']?[:=][ \t]*)(?![\"'\s*]|(?:bearer|basic) )[^,}}&#\n]+", re.IGNORECASE), rf"\1{BLANK}"),
)
"""What looks like a secret -> what is shown. Rather too much is blanked than too little."""


def without_secrets(text: str) -> str:
    """The text without the users and passwords of addresses, and without tokens and keys."""
    for secret, shown in SECRETS:
        text = secret.sub(shown, text)
    return text


def filled_in(text: str, environment: Mapping[str, str]) -> str:
    """The text with the value for each ${NAME}.

    Raises ValueError that names the variable, never a value, where one is not set or its name is none.
    """

    def value(match: re.Match[str]) -> str:
        if not (match[0].endswith("}") and NAME.fullmatch(match[1])):
            raise ValueError("holds ${ without a NAME and } after it")
        return required(match[1], environment)

    return VARIABLE.sub(value, text)


def required(name: str, environment: Mapping[str, str]) -> str:
    """The value of a variable. Raises ValueError that names it where it is not set or empty."""
    if not environment.get(name):
        raise ValueError(
            f"the environment variable {name} is not set; set it, for the systemd service in /etc/rep-edge/environment"
        )
    return environment[name]
