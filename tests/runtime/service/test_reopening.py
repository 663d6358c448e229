"""A sensor that is not believed is opened again, less and less often, and from the start after a healthy while."""

from __future__ import annotations

from rep_edge.runtime.service.reopening import Reopening


def times(reopening: Reopening, begin: int, end: int, believed: bool = False) -> list[int]:
    """Whole seconds at which it was due."""
    return [now for now in range(begin, end) if reopening.due(believed, now)]


def test_it_is_due_less_and_less_often() -> None:
    assert times(Reopening(), 0, 1600) == [10, 30, 70, 150, 310, 610, 910, 1210, 1510]


def test_a_stream_that_is_believed_is_left_alone() -> None:
    assert times(Reopening(), 0, 1000, believed=True) == []


def test_a_healthy_while_makes_it_begin_anew() -> None:
    reopening = Reopening()
    times(reopening, 0, 400)
    times(reopening, 400, 500, believed=True)
    assert times(reopening, 500, 540) == [510, 530]


def test_a_short_recovery_does_not() -> None:
    reopening = Reopening()
    assert times(reopening, 0, 100) == [10, 30, 70]
    times(reopening, 100, 110, believed=True)
    assert times(reopening, 110, 300) == [190]
