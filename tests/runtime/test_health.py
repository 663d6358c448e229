"""A stream that is broken is lost at once, one that is strange is suspect, and neither comes and goes for ever."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.errors import InputError
from rep_edge.runtime.health import MOST_READMIT, UNHEARD, HealthLimits, HealthMachine, StreamHealth, Symptom

FLAT = Symptom("flat", "flat at 0", True)
QUIET = Symptom("noise_low", "noise of 1, below 2", False)
LIMITS = HealthLimits()
MARKS = {"+": None, "x": FLAT, "?": QUIET}
SHOWN = {"live": "L", "suspect": "S", "lost": "x", "recovering": "r"}


def judged(marks: Iterable[str], limits: HealthLimits = LIMITS, hop_s: float = 1.0) -> list[StreamHealth]:
    """Health after each window. +: healthy, x: with a hard symptom, ?: with a soft one."""
    machine = HealthMachine(limits, hop_s)
    return [machine.judge(MARKS[mark]) for mark in marks]


def states(marks: Iterable[str], limits: HealthLimits = LIMITS, hop_s: float = 1.0) -> str:
    """L: live, S: suspect, x: lost, r: recovering."""
    return "".join(SHOWN[health.state] for health in judged(marks, limits, hop_s))


def test_a_stream_that_begins_is_believed_at_once() -> None:
    machine = HealthMachine(LIMITS, 1.0)
    assert machine.health == UNHEARD
    assert states("xx+") == "xxL"


def test_a_hard_symptom_loses_it_at_once_and_two_healthy_windows_bring_it_back() -> None:
    assert states("++x++") == "LLxrL"
    assert states("++x+x++") == "LLxrxrL"
    assert states("+x+++", HealthLimits(readmit=3)) == "LxrrL"
    lost, back = judged("++x+")[2:]
    assert lost == StreamHealth("lost", "flat", "flat at 0")
    assert back == StreamHealth("recovering", "flat", "back, healthy for 1 of 2 windows")


def test_soft_symptoms_make_it_suspect_after_three_windows_and_clean_ones_clear_it_after_three() -> None:
    assert states("+??+???+?++++") == "LLLLLLSSSSSLL"
    assert states("?" * 5) == "LLSSS"
    assert states("+??+", HealthLimits(suspect_after=1, clear_after=1)) == "LSSL"
    assert judged("+???+")[-1] == StreamHealth("suspect", "noise_low", "noise of 1, below 2")


def test_a_quiet_night_is_no_dead_sensor() -> None:
    assert "x" not in states("+" + "?" * 1000)
    assert states("x?") == "xL"


def test_one_that_returns_strange_is_suspect_once_it_has_been_so_for_long_enough() -> None:
    assert states("+x?????") == "LxrLSSS"


def test_one_that_comes_and_goes_has_to_show_more_and_more() -> None:
    shown = states("+" + "x++" * 40)
    assert shown.startswith("LxrLxrLxrLxrrxrr"), "from the fourth loss on two healthy windows are too few"
    assert "L" not in shown[14:]
    told = judged("+" + "x++" * 5)[-1]
    assert told == StreamHealth("recovering", "flapping", "back, healthy for 2 of 4 windows, for it came and went")


def test_patience_is_bounded_and_starts_afresh_after_a_healthy_while() -> None:
    machine = HealthMachine(LIMITS, hop_s=1.0)
    machine.judge(None)

    def windows_to_return() -> int:
        machine.judge(FLAT)
        count = 0
        while machine.health.state != "live":
            machine.judge(None)
            count += 1
        return count

    waits = [windows_to_return() for _ in range(12)]
    assert waits[:5] == [2, 2, 2, 4, 8]
    assert max(waits) <= MOST_READMIT
    for _ in range(60):
        machine.judge(None)
    assert windows_to_return() == 2


@settings(max_examples=200)
@given(st.text("+x?", max_size=200), st.sampled_from([0.1, 1.0, 10.0]), st.integers(1, 5))
def test_whatever_comes(marks: str, hop_s: float, readmit: int) -> None:
    limits = HealthLimits(readmit=readmit)
    usable = 0
    for mark, health in zip(marks, judged(marks, limits, hop_s), strict=True):
        usable = 0 if mark == "x" else usable + 1
        assert (health.state == "lost") == (mark == "x"), "never live with a hard symptom"
        assert health.takes_part == (health.state in ("live", "suspect"))
        assert (health.state == "live") == (health.reason == "") == (health.told == "")
        if usable >= max(MOST_READMIT, readmit):
            assert health.takes_part, "whatever was, it returns"
    # A lost stream in a healthy world is back within the windows that it has to show.
    assert states(marks + "+" * MOST_READMIT, limits, hop_s)[-1:] in ("L", "S")


@settings(max_examples=50)
@given(st.lists(st.integers(1, 6), min_size=30, max_size=60))
def test_no_loop_of_losses(spans: list[int]) -> None:
    """However long it is healthy between two losses, up to six windows: soon it stays out."""
    marks = "+" + "".join("x" + "+" * span for span in spans)
    shown = states(marks)
    switches = sum(a in "LS" and b == "x" for a, b in pairwise(shown))
    assert switches <= 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stuck_s", 0),
        ("clipped", -1),
        ("largest", np.nan),
        ("readmit", 0),
        ("margin", 0.5),
        ("margin", np.inf),
        ("rate", 0),
        ("suspect_after", 0),
        ("clear_after", 0),
    ],
)
def test_limits_that_are_none(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}: must be"):
        msgspec.structs.replace(LIMITS, **{name: value})
