from __future__ import annotations

import threading

import pytest

from rep_edge.runtime.sources.waiting import unless_stopped


def test_a_step_gives_what_it_returns() -> None:
    assert unless_stopped(lambda: 7, threading.Event()) == 7


def test_a_step_raises_what_it_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        unless_stopped(lambda: 1 / 0, threading.Event())


def test_a_stop_does_not_wait_for_the_step() -> None:
    stop, never = threading.Event(), threading.Event()
    threading.Timer(0.05, stop.set).start()
    assert unless_stopped(lambda: never.wait(60), stop) is None
    never.set()
