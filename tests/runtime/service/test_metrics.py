"""Durations: one histogram for each pattern and backend, whichever thread observes."""

from __future__ import annotations

import threading

import pytest

from rep_edge.runtime.service.metrics import BOUNDS_S, Durations


def test_a_duration_falls_into_the_cell_that_holds_it() -> None:
    durations = Durations()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[1], 1000.0):
        durations.observe("acoustic", "onnxruntime", seconds)
    counts, sum_s = durations.histograms()["acoustic", "onnxruntime"]
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (2, 1, 1, 4)
    assert sum_s == pytest.approx(1000.003)


def test_patterns_and_backends_are_apart() -> None:
    durations = Durations()
    durations.observe("acoustic", "onnxruntime", 0.1)
    durations.observe("seismic", "onnxruntime", 0.1)
    durations.observe("acoustic", "tensorrt", 0.1)
    assert len(durations.histograms()) == 3


def test_no_observation_of_any_thread_is_lost() -> None:
    durations = Durations()
    threads = [
        threading.Thread(target=lambda: [durations.observe("acoustic", "onnxruntime", 0.01) for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(durations.histograms()["acoustic", "onnxruntime"].counts) == 2000
