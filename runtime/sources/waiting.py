"""A step that may block, such as connecting, and a stop that must not wait for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GLANCE_S = 0.25
"""Seconds between two looks at whether to stop."""


def unless_stopped(step: Callable[[], T], stop: threading.Event) -> T | None:
    """What `step` returns or raises; None as soon as `stop` is set.

    It runs in a thread of its own, for name servers and hosts that do not answer cannot be interrupted. After a stop
    that thread ends when the step does, and what it made is dropped.
    """
    made: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            made.put(step())
        except Exception as error:
            made.put(error)

    threading.Thread(target=run, name="connecting", daemon=True).start()
    while not stop.is_set():
        try:
            result = made.get(timeout=GLANCE_S)
        except queue.Empty:
            continue
        if isinstance(result, Exception):
            raise result
        return result
    return None
