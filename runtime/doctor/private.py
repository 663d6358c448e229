"""What a report of a fault must not tell of its writer: blanked."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from rep_edge.runtime.service.secrets import without_secrets

HOMES = re.compile(r"(?<![\w.])/(home|Users)/[^/\s\"':;,]+")


def without_home(text: str, home: Path) -> str:
    """The text with "~" for the home folder, whose name is a person's."""
    if home == Path(home.anchor):
        return text
    return re.sub(rf"{re.escape(str(home))}(?![\w.-])", "~", text)


def private(text: str) -> str:
    """The text without secrets, without anybody's home folder and without the name of this machine."""
    told = HOMES.sub("~", without_home(without_secrets(text), Path.home()))
    host = socket.gethostname()
    return re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", "<this machine>", told) if host else told
