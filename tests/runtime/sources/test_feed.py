"""A feed reads its source in a thread, and whatever the source does, it waits and opens it again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from bundles import ACOUSTIC, SEISMIC

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.backoff import Backoff
from rep_edge.runtime.sources.feed import Feed
from rep_edge.runtime.sources.live import Chunk, Refusals, SourceError

Opening = Callable[[threading.Event], Iterator[Chunk]]


def chunk(start_s: float = 0.0, samples: int = 10, rate_hz: float = 100.0, channels: int = 1) -> Chunk:
    return Chunk(np.full((channels, samples), start_s, np.float32), start_s, rate_hz, time.monotonic())


class Scripted:
    """A source that does at each opening what it was told; the last one is repeated."""

    address = "scripted:"

    def __init__(self, *openings: Opening) -> None:
        self.refusals = Refusals(self.address)
        self.openings = list(openings)
        self.closed = 0

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        try:
            yield from (self.openings.pop(0) if len(self.openings) > 1 else self.openings[0])(stop)
        finally:
            self.closed += 1


def gives(*chunks: Chunk) -> Opening:
    return lambda stop: iter(chunks)


def stays(*chunks: Chunk) -> Opening:
    def opening(stop: threading.Event) -> Iterator[Chunk]:
        yield from chunks
        stop.wait(10)

    return opening


def fails(error: Exception, *chunks: Chunk) -> Opening:
    def opening(stop: threading.Event) -> Iterator[Chunk]:
        yield from chunks
        raise error

    return opening


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def open_feed() -> Iterator[Callable[..., Feed]]:
    feeds = []

    def opened(*openings: Opening, **options: object) -> Feed:
        source = Scripted(*openings)
        feeds.append(Feed("seismic", source, SEISMIC, backoff=Backoff(first_s=0.001, most_s=0.01), **options))  # type: ignore[arg-type]
        feeds[-1].start()
        return feeds[-1]

    yield opened
    for feed in feeds:
        feed.close()


def test_what_comes_is_taken_once_and_in_order(open_feed: Callable[..., Feed]) -> None:
    woken = threading.Event()
    feed = open_feed(stays(chunk(0), chunk(0.1)), wake=woken.set)
    assert woken.wait(10)
    until(lambda: feed._queued_s > 0.15)
    assert [taken.start_s for taken in feed.take()] == [0, 0.1]
    assert feed.take() == []
    assert (feed.connection, feed.rate_hz, feed.reconnects, feed.dropped) == ("connected", 100, 0, 0)


def test_before_anything_came_it_is_connecting(open_feed: Callable[..., Feed]) -> None:
    feed = open_feed(stays())
    assert (feed.connection, feed.rate_hz, feed.ended) == ("connecting", 100, False)


def test_a_recording_ends_with_what_was_held_back(open_feed: Callable[..., Feed]) -> None:
    feed = open_feed(gives(chunk(0, samples=200, rate_hz=200)))
    until(lambda: feed.ended)
    taken = feed.take()
    assert sum(part.values.shape[1] for part in taken) == 100
    assert {part.rate_hz for part in taken} == {100}
    assert (feed.rate_hz, feed.connection) == (200, "ended")


def test_a_sensor_that_goes_away_is_opened_again(open_feed: Callable[..., Feed]) -> None:
    feed = open_feed(fails(SourceError("gone"), chunk(0)), fails(SourceError("refused")), stays(chunk(5)))
    until(lambda: feed.reconnects == 2 and feed.connection == "connected")
    assert [taken.start_s for taken in feed.take()] == [0, 5]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SourceError("refused"), "waiting 30 s: refused"),
        (InputError("no such option"), "waiting 60 s: no such option"),
        (MissingExtraError("sensors", "soxr"), "waiting 60 s: soxr is not installed"),
        (ZeroDivisionError(), "waiting 30 s: ZeroDivisionError in its source"),
    ],
)
def test_what_it_waits_for_is_told(error: Exception, told: str) -> None:
    feed = Feed("seismic", Scripted(fails(error)), SEISMIC, backoff=Backoff(first_s=30))
    feed.start()
    until(lambda: feed.connection.startswith(told))
    feed.close()
    assert feed.connection == "closed"


def test_a_fault_of_a_source_is_logged_with_where_it_happened(
    open_feed: Callable[..., Feed], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "rep_edge.sources")
    feed = open_feed(*[fails(ZeroDivisionError("oh"))] * 5, stays(chunk()))
    until(lambda: feed.connection == "connected")
    assert caplog.text.count("Traceback") == 1
    assert "seismic: ZeroDivisionError in its source" in caplog.text


def test_waits_begin_anew_after_a_healthy_time() -> None:
    waits = Backoff(first_s=0.001, healthy_s=0.0)
    feed = Feed(
        "seismic", Scripted(*[fails(SourceError("gone"), chunk())] * 20, stays(chunk())), SEISMIC, backoff=waits
    )
    feed.start()
    until(lambda: feed.reconnects == 20)
    feed.close()
    assert waits.wait_s(0) < 0.01


def test_a_stalled_stream_is_closed_and_opened_again(open_feed: Callable[..., Feed]) -> None:
    feed = open_feed(stays(chunk(0)), stays(chunk(7)))
    until(lambda: feed.connection == "connected")
    feed.reconnect("nothing came for 10 s")
    until(lambda: feed.reconnects == 1 and feed.connection == "connected")
    assert [taken.start_s for taken in feed.take()] == [0, 7]


def test_a_full_queue_loses_the_oldest(open_feed: Callable[..., Feed]) -> None:
    feed = open_feed(gives(*(chunk(0.1 * i) for i in range(50))), queue_s=1)
    until(lambda: feed.ended)
    taken = feed.take()
    assert [round(part.start_s, 1) for part in taken] == [round(4 + 0.1 * i, 1) for i in range(10)]
    assert feed.dropped == 40


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (chunk(channels=2), "another number of channels"),
        (chunk(samples=0), "another number of channels"),
        (chunk()._replace(values=np.zeros(10, np.float32)), "another number of channels"),
        (chunk(rate_hz=float("nan")), "a rate that cannot be"),
        (chunk(rate_hz=0), "a rate that cannot be"),
        (chunk(rate_hz=1e12), "a rate that cannot be"),
        (chunk(start_s=float("inf")), "a time that is no number"),
        (chunk()._replace(arrived_s=float("nan")), "a time that is no number"),
        (chunk(samples=6001), "longer than 60 s"),
    ],
)
def test_chunks_that_no_sensor_sends_are_counted_and_left_out(
    bad: Chunk, reason: str, open_feed: Callable[..., Feed]
) -> None:
    feed = open_feed(gives(bad, chunk(3)))
    until(lambda: feed.ended)
    assert [taken.start_s for taken in feed.take()] == [3]
    assert feed.refused == {reason: 1}


def test_samples_that_are_no_numbers_pass_for_health_judges_them(open_feed: Callable[..., Feed]) -> None:
    feed = open_feed(gives(chunk()._replace(values=np.full((1, 3), np.nan, np.float32))))
    until(lambda: feed.ended)
    assert len(feed.take()) == 1


def test_closing_gives_the_source_back_and_ends_the_thread() -> None:
    source = Scripted(stays(chunk()))
    feed = Feed("seismic", source, SEISMIC)
    feed.start()
    until(lambda: feed.connection == "connected")
    feed.close()
    assert source.closed == 1
    assert not feed._thread.is_alive()
    assert len(feed.take()) == 1


def test_a_feed_that_never_began_can_be_closed() -> None:
    Feed("acoustic", Scripted(stays()), ACOUSTIC).close()


def test_a_source_that_does_not_stop_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rep_edge.runtime.sources.feed.CLOSE_S", 0.05)
    release = threading.Event()

    def stuck(stop: threading.Event) -> Iterator[Chunk]:
        release.wait(10)
        yield chunk()

    feed = Feed("seismic", Scripted(stuck), SEISMIC)
    feed.start()
    feed.close()
    assert "does not stop" in caplog.text
    release.set()
    feed._thread.join(10)
