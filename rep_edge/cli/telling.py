"""What a command says while it works: on standard error, so that its results stand alone on standard output."""

from __future__ import annotations

import sys


def tell(line: str) -> None:
    """One line, at once."""
    print(line, file=sys.stderr, flush=True)
