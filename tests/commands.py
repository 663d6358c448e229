"""The command line in this process: what it printed where, and the one line that a mistake ends in."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

import pytest

from rep_edge.cli.app import main


class Done(NamedTuple):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line, found to be the only complaint; nothing went to standard output."""
        *before, last = self.err.splitlines()
        assert (self.code, self.out) == (1, "")
        assert last.startswith("error: ")
        assert not any(line.startswith(("error: ", "Traceback")) for line in before)
        return last


def run(*arguments: object) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["rep-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    assert isinstance(end.value.code, int)
    return Done(end.value.code, out.getvalue(), err.getvalue())
