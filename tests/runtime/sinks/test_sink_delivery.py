"""Delivery: at least once, in order, however the receiver behaves; one bad event does not hold up the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from heard import Receiver, event, eventually
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.sinks.delivery import BATCH, MOST_REFUSALS, Delivery
from rep_edge.runtime.sinks.journal import Journal, JournalError
from rep_edge.runtime.sinks.sink import RefusedError, SinkError

FIRST_S = 0.001


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def append(journal: Journal, count: int) -> list[str]:
    heard = [event(journal.count() + number) for number in range(count)]
    for one in heard:
        journal.append(one)
    return [one.id for one in heard]


def test_events_are_delivered_in_order_and_the_cursor_follows(journal: Journal) -> None:
    sink = Receiver()
    delivery = Delivery(journal, sink, FIRST_S)
    ids = append(journal, 2 * BATCH + 3)
    delivery.wake()
    eventually(lambda: delivery.status().behind == 0)
    delivery.close(1.0)
    assert sink.taken == ids
    assert journal.cursor("receiver") == len(ids)
    told = delivery.status()
    assert (told.state, told.delivered, told.lost) == ("delivering", len(ids), 0)


def test_what_was_appended_before_a_restart_is_delivered_after_it(journal: Journal) -> None:
    journal.register("receiver")
    ids = append(journal, 3)
    sink = Receiver()
    delivery = Delivery(journal, sink, FIRST_S)
    eventually(lambda: sink.taken == ids)
    delivery.close(1.0)


def test_a_receiver_that_is_away_is_waited_for_and_that_is_told(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    back = threading.Event()

    def fails(events: Sequence[Event]) -> None:
        if not back.is_set():
            raise SinkError("host: connection refused")

    sink = Receiver(fails)
    delivery = Delivery(journal, sink, FIRST_S)
    ids = append(journal, 3)
    delivery.wake()
    eventually(lambda: delivery.status().state == "waiting 0.01 s: host: connection refused")
    assert (delivery.status().behind, delivery.status().delivered) == (3, 0)
    back.set()
    eventually(lambda: sink.taken == ids)
    eventually(lambda: delivery.status().state == "delivering")
    delivery.close(1.0)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "receiver: events wait: host: connection refused"
    ]


def test_a_fault_of_ours_in_a_sink_is_waited_out_too(journal: Journal) -> None:
    failures = iter([KeyError("oops"), ZeroDivisionError("no")])

    def fails(events: Sequence[Event]) -> None:
        for failure in failures:
            raise failure

    sink = Receiver(fails)
    delivery = Delivery(journal, sink, FIRST_S)
    ids = append(journal, 2)
    delivery.wake()
    eventually(lambda: sink.taken == ids)
    delivery.close(1.0)


def test_an_event_that_is_refused_again_and_again_is_given_up_alone(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[list[str]] = []

    def fails(events: Sequence[Event]) -> None:
        tries.append([one.id for one in events])
        if "yard-2.0" in tries[-1]:
            raise RefusedError("host answers 422")

    sink = Receiver(fails)
    journal.register("receiver")
    ids = append(journal, 5)
    delivery = Delivery(journal, sink, FIRST_S)
    eventually(lambda: delivery.status().behind == 0)
    delivery.close(1.0)
    assert sink.taken == [one for one in ids if one != "yard-2.0"]
    assert tries.count(["yard-2.0"]) == MOST_REFUSALS
    assert (delivery.status().lost, delivery.status().delivered) == (1, 4)
    assert journal.lost("receiver") == 1
    assert "event yard-2.0 is given up: host answers 422" in caplog.text


def test_where_the_cursor_cannot_be_written_events_are_not_delivered_over_and_over(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, real = Receiver(), journal.advance

    def full(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        raise JournalError("disk is full")

    delivery = Delivery(journal, sink, FIRST_S)
    monkeypatch.setattr(journal, "advance", full)
    ids = append(journal, 3)
    delivery.wake()
    eventually(lambda: delivery.status().state == "delivering" and delivery.status().behind == 0)
    assert sink.taken == ids
    delivery.close(1.0)


def test_closing_delivers_what_is_left(journal: Journal) -> None:
    slow = threading.Event()
    sink = Receiver(lambda events: slow.wait(0.05) and None)
    delivery = Delivery(journal, sink, FIRST_S)
    ids = append(journal, 3 * BATCH)
    delivery.close(20.0)
    assert sink.taken == ids
    assert sink.closed.is_set()


def test_closing_does_not_wait_for_a_receiver_that_is_away(journal: Journal) -> None:
    def fails(events: Sequence[Event]) -> None:
        raise SinkError("away")

    sink = Receiver(fails)
    sink.most_s = 1000.0
    delivery = Delivery(journal, sink, 1000.0)
    append(journal, 3)
    delivery.wake()
    eventually(lambda: delivery.status().state.startswith("waiting"))
    delivery.close(1000.0)
    assert delivery.status().behind == 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_whatever_fails_whenever_each_event_arrives_and_first_arrivals_are_in_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int, portions: list[int]
) -> None:
    journal, random = Journal(tmp_path_factory.mktemp("d") / "journal.sqlite"), Random(seed)

    class Forgetful(Receiver):
        """Takes some of what it is given, and then fails."""

        def deliver(self, events: Sequence[Event]) -> None:
            if random.random() < 0.4:
                self.taken += [one.id for one in events[: random.randint(0, len(events))]]
                raise random.choice([SinkError("away"), RefusedError("no"), OSError("broken")])
            super().deliver(events)

    sink = Forgetful()
    sink.most_s = FIRST_S
    delivery = Delivery(journal, sink, FIRST_S)
    ids = []
    for portion in portions:
        ids += append(journal, portion)
        delivery.wake()
    eventually(lambda: delivery.status().behind == 0)
    delivery.close(1.0)
    arrived = list(dict.fromkeys(sink.taken))
    assert arrived == [one for one in ids if one in set(arrived)]
    assert len(ids) - len(arrived) <= delivery.status().lost
    journal.close()
