"""Questions to a process of its own: a library that crashes or hangs takes nothing else with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT_S = 300.0
"""Seconds after which a library is said to hang; the first build of an engine may take minutes."""
ANSWER = "rep-edge answers: "
"""What the line begins with that is the answer; libraries print lines of their own."""


def ask_apart(question: str, subject: str) -> dict[str, object]:
    """The answer of `rep_edge.runtime.doctor.answering`; {"problem": ...} where it gave none.

    What a backend keeps goes into a cache that is removed afterwards; a bundle is looked at with the real one.
    """
    command = [sys.executable, "-m", "rep_edge.runtime.doctor.answering", question, subject]
    with tempfile.TemporaryDirectory() as folder:
        # What lies in the folder that one happens to be in is no module, as it is none for the command itself.
        environment = os.environ | {"PYTHONSAFEPATH": "1"}
        if question != "examine":
            environment["REP_EDGE_CACHE"] = str(Path(folder) / "cache")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, env=environment
            )
        except subprocess.TimeoutExpired:
            return {"problem": f"gave no answer within {LIMIT_S:.0f} s"}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(ANSWER):
            found: dict[str, object] = json.loads(line.removeprefix(ANSWER))
            return found
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return {"problem": f"{_ending(done.returncode)}" + (f", its last words: {said[-1]}" if said else "")}


def _ending(code: int) -> str:
    """How a process ended that gave no answer."""
    if code < 0:
        try:
            return f"crashed ({signal.Signals(-code).name})"
        except ValueError:
            return f"crashed (signal {-code})"
    return f"ended with exit code {code}"
