"""Live sensors become one prediction a hop, on a line that begins with them, and are given back at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import make_bundle

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.live import live_predictions
from rep_edge.runtime.sources.live import Chunk, Refusals, SourceError
from rep_edge.runtime.streaming import StreamingClassifier


class Noise:
    """Chunks of 0.1 s at any rate, as fast as they last, on a clock of its own; gone after `seconds`."""

    address = "noise:"

    def __init__(self, rate_hz: float, seconds: float, clock_s: float, fails: bool = False) -> None:
        self.refusals = Refusals(self.address)
        self.given_back = False
        self._rate_hz, self._seconds, self._clock_s, self._fails = rate_hz, seconds, clock_s, fails

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        rng, size, began = np.random.default_rng(0), round(0.1 * self._rate_hz), time.monotonic()
        try:
            for i in range(round(10 * self._seconds)):
                if stop.wait(max(0.0, began + 0.1 * (i + 1) - time.monotonic())):
                    return
                values = rng.normal(0, 1, (1, size)).astype(np.float32)
                yield Chunk(values, self._clock_s + 0.1 * i, self._rate_hz, time.monotonic())
            if self._fails:
                raise SourceError("gone")
        finally:
            self.given_back = True


@pytest.fixture
def stream(tmp_path: Path) -> StreamingClassifier:
    return StreamingClassifier(Classifier.load(make_bundle(tmp_path / "bundle")))


def test_sensors_of_other_rates_and_clocks_meet_on_one_line(stream: StreamingClassifier) -> None:
    sources = {"acoustic": Noise(1600, 2.2, 1.7e9), "seismic": Noise(100, 2.2, 0.0)}
    made = list(live_predictions(sources, stream, threading.Event()))
    assert [prediction.end_s for prediction in made[:3]] == pytest.approx([1.0, 1.5, 2.0])
    assert "acoustic+seismic" in {prediction.pattern for prediction in made}
    assert all(source.given_back for source in sources.values())


def test_time_goes_on_without_any_sensor_until_it_is_stopped(stream: StreamingClassifier) -> None:
    source, stop = Noise(100, 0.2, 0.0, fails=True), threading.Event()
    made = []
    for prediction in live_predictions({"seismic": source}, stream, stop):
        made.append(prediction)
        if len(made) == 2:
            stop.set()
    assert [prediction.label for prediction in made] == [None, None]
    assert source.given_back
