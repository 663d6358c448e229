"""What a TensorRT builder says while it works: its log into a file, its progress into lines."""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rep_edge.errors import InputError

Tell = Callable[[str], None]

INTERVAL_S = 10.0
"""Seconds between two lines about a build that goes on."""


class Listener:
    """Hears all builders of one library.

    logger, monitor: what the library takes. TensorRT keeps the first logger of a process for good, so there is one for
    each library.
    """

    def __init__(self, module: Any) -> None:
        self.errors: list[str] = []
        self.interrupted = False
        self._file: TextIO | None = None
        self._tell: Tell = lambda line: None
        self._what, self._began, self._told = "", 0.0, 0.0
        self._severity = module.ILogger.Severity if hasattr(module.ILogger, "Severity") else module.ILogger
        self.logger = _object(module.ILogger, log=self._log)
        self.monitor = None
        if hasattr(module, "IProgressMonitor"):
            self.monitor = _object(
                module.IProgressMonitor,
                phase_start=self._phase_start,
                phase_finish=lambda name: None,
                step_complete=self._step_complete,
            )

    @contextmanager
    def during(self, what: str, log: Path | None, tell: Tell) -> Iterator[None]:
        """A build named `what`, its log into `log`. Raises InputError where that file cannot be written."""
        self.errors, self.interrupted, self._tell, self._what = [], False, tell, what
        self._began = self._told = time.monotonic()
        try:
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                # Line by line, so that the log of a build that crashes the process is there.
                self._file = log.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise InputError(f"{log}: cannot be written ({error.strerror}); choose another folder") from error
        try:
            with self._catching_interrupt():
                yield
        finally:
            if self._file is not None:
                self._file.close()
            self._file, self._tell = None, lambda line: None
        if self.interrupted:
            raise KeyboardInterrupt

    @contextmanager
    def _catching_interrupt(self) -> Iterator[None]:
        """A Ctrl-C would be raised inside a call from the library, which swallows it: keep it and end the build."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, lambda number, frame: setattr(self, "interrupted", True))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _log(self, severity: Any, message: str) -> None:
        if severity == self._severity.VERBOSE:
            return
        if severity in (self._severity.ERROR, self._severity.INTERNAL_ERROR):
            self.errors.append(message.strip())
        try:
            if self._file is not None:
                self._file.write(f"{getattr(severity, 'name', severity)}: {message}\n")
        except OSError:  # A full disk must not end the build that the log only describes.
            self._file = None

    def _phase_start(self, name: str, parent: str | None, steps: int) -> None:
        now = time.monotonic()
        if now - self._told >= INTERVAL_S:
            self._told = now
            self._tell(f"{self._what}: {name.lower()}, {now - self._began:.0f} s so far")

    def _step_complete(self, name: str, step: int) -> bool:
        return not self.interrupted


@functools.cache
def listener(module: Any) -> Listener:
    """The one of a library."""
    return Listener(module)


def _object(base: Any, **methods: Callable[..., Any]) -> Any:
    """An object of a class that the library calls back, with these functions as its methods."""
    kind: Any = type(base.__name__, (base,), {name: staticmethod(call) for name, call in methods.items()})
    return kind()
