"""Engines that are built in a process of their own while another backend serves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from rep_edge.errors import InputError
from rep_edge.runtime.backends.base import Backend, Runner
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.engines.lookup import EngineMissing

PAUSE_S = 1.0
"""Seconds between two looks into the cache."""
COMMAND = "import os; os.nice(19); from rep_edge.cli.app import main; main()"
"""The command line, behind everything else that wants the processor."""


class Child(NamedTuple):
    """A process that builds, and the file that holds what it says."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]


class Building:
    """One build, watched by a thread that opens every engine once it is there.

    take() is called between windows and gives what was opened since. taken: how many were given; failed: no more will
    come. backend, precision: what the engines are for.
    """

    def __init__(
        self,
        child: Child,
        backend: Backend,
        precision: str,
        patterns: Sequence[str],
        open_pattern: Callable[[str], Runner],
        tell: Callable[[str], None],
    ) -> None:
        self.backend, self.precision = backend, precision
        self.taken, self.failed = 0, False
        self._child, self._open, self._tell = child, open_pattern, tell
        self._waiting, self._missing = list(patterns), ""
        self._opened: deque[tuple[str, Runner]] = deque()
        self._stop = threading.Event()
        # A build does not outlive the classifier that it is for, however that ends.
        self._end_child = weakref.finalize(self, _end, child)
        self._thread = threading.Thread(target=self._watch, name="engines", daemon=True)
        self._thread.start()

    def take(self) -> list[tuple[str, Runner]]:
        """Patterns and their opened engines, each once."""
        given = []
        while self._opened:
            given.append(self._opened.popleft())
        self.taken += len(given)
        return given

    def close(self) -> None:
        """End the build; close what was opened and not taken."""
        self._stop.set()
        self._end_child()
        self._thread.join()
        self._child.said.close()
        for _, runner in self.take():
            runner.close()

    def _watch(self) -> None:
        try:
            while self._waiting:
                # Asked before the look, so that what was written last is not missed.
                ended = self._child.process.poll() is not None
                self._open_what_is_there()
                if ended or self._stop.wait(PAUSE_S):
                    break
            reason = self._missing if self._child.process.poll() == 0 else _last_line(self._child)
        except InputError as error:
            reason = str(error)
        if not self._waiting:
            self._tell(f"engines are built: every graph moves to {self.backend.name} in {self.precision}")
        elif not self._stop.is_set():
            self._tell(f"no engines for {', '.join(self._waiting)}, which stay where they are: {reason}")
            self.failed = True

    def _open_what_is_there(self) -> None:
        for pattern in tuple(self._waiting):
            if self._stop.is_set():
                return
            try:
                runner = self._open(pattern)
            except EngineMissing as error:
                self._missing = str(error)
                continue
            self._opened.append((pattern, runner))
            self._waiting.remove(pattern)


def start_building(
    bundle: Bundle,
    backend: Backend,
    precision: str,
    open_pattern: Callable[[str], Runner],
    tell: Callable[[str], None],
) -> Building:
    """`rep-edge compile` for one precision in a process of its own. open_pattern: opens an engine, or raises
    EngineMissing; tell: takes a line when it begins and one when it has ended."""
    arguments = ("compile", str(bundle.path), "--backend", backend.name, "--precision", precision)
    said = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
    )
    tell(f"engines for {backend.name} in {precision} are being built; each graph moves to its own once it is there")
    spec = bundle.manifest.spec
    patterns = [spec.pattern_name(pattern) for pattern in spec.patterns()]
    return Building(Child(process, said), backend, precision, patterns, open_pattern, tell)


def _last_line(child: Child) -> str:
    """What the process said last, which is why it failed."""
    child.said.seek(0)
    lines = child.said.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("error: ") if said else f"the build ended with {child.process.poll()}"


def _end(child: Child) -> None:
    if child.process.poll() is None:
        child.process.terminate()
        try:
            child.process.wait(10)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
