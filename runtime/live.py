"""Live sensors to predictions, without a service around them: what `rep-edge stream` runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

from rep_edge.runtime.clocks import StreamClock
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.sources.feed import Feed, take_all
from rep_edge.runtime.sources.live import Source
from rep_edge.runtime.streaming import StreamingClassifier

LOOK_S = 0.1
"""Seconds after which time goes on although nothing came."""


def live_predictions(
    sources: Mapping[str, Source], stream: StreamingClassifier, stop: threading.Event
) -> Iterator[Prediction]:
    """One prediction a hop until `stop` is set or all sources have ended; times in s from the start.

    Each source has a thread, which opens it again when it fails; all are closed when this ends.
    """
    came = threading.Event()
    feeds = {name: Feed(name, source, stream.spec.stream(name), wake=came.set) for name, source in sources.items()}
    clocks = {name: StreamClock() for name in feeds}
    began = time.monotonic()
    for feed in feeds.values():
        feed.start()
    try:
        yield from stream.advance(0.0)
        while not stop.is_set():
            ended = all(feed.ended for feed in feeds.values())
            for name, chunk in take_all(feeds):
                yield from stream.push(name, chunk.values, clocks[name].place(chunk) - began)
            yield from stream.advance(time.monotonic() - began)
            if ended:
                return
            came.wait(LOOK_S)
            came.clear()
    finally:
        for feed in feeds.values():
            feed.close()
