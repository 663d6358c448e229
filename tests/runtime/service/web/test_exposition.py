"""The metrics: every one of them, under names that do not change."""

from __future__ import annotations

import pytest
from browser.pretend_service import PretendView
from prometheus_client.parser import text_string_to_metric_families

from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.web.exposition import Exposition

BOUNDS = ("0.002", "0.005", "0.5", "+Inf")


@pytest.fixture
def durations() -> Durations:
    durations = Durations()
    for seconds in (0.004, 0.005, 0.3, 60.0):
        durations.observe("acoustic+seismic", "onnxruntime", seconds)
    return durations


def values(view: PretendView, durations: Durations) -> dict[str, float]:
    """name{label="value",...} -> number."""
    text = Exposition(view.status, durations, lambda: 3).text().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_streams(view: PretendView, durations: Durations) -> None:
    view.fail("gate", "seismic", "lost", "silent", "no samples for 2.0 s")
    view.fail("yard", "seismic", "suspect", "quiet", "level 14 dB below its usual")
    found = values(view, durations)
    assert found['rep_edge_stream_up{node="gate",stream="seismic"}'] == 0
    assert found['rep_edge_stream_up{node="yard",stream="seismic"}'] == 1
    assert found['rep_edge_stream_last_sample_timestamp_seconds{node="yard",stream="acoustic"}'] > 1e9
    assert found['rep_edge_stream_gaps_total{node="yard",stream="seismic"}'] == 2
    assert found['rep_edge_stream_dropped_total{node="yard",stream="seismic"}'] == 0
    assert found['rep_edge_stream_reconnects_total{node="gate",stream="seismic"}'] == 1
    assert found['rep_edge_stream_refused_total{node="yard",reason="from another sender",stream="seismic"}'] == 3
    assert 'rep_edge_stream_level{node="gate",stream="seismic"}' not in found


def test_nodes(view: PretendView, durations: Durations) -> None:
    view.fail("gate", "seismic", "lost", "silent", "no samples for 2.0 s")
    found = values(view, durations)
    assert found['rep_edge_windows_total{node="yard"}'] > 0
    assert found['rep_edge_windows_without_total{node="yard"}'] == 3
    assert found['rep_edge_pattern_switches_total{node="yard"}'] == 5
    assert 0 < found['rep_edge_lag_seconds{node="yard"}'] < 1
    assert found['rep_edge_events_total{class="truck",node="yard"}'] == 101
    active = {name: value for name, value in found.items() if name.startswith('rep_edge_active_pattern{node="gate"')}
    assert [name for name, value in active.items() if value] == [
        'rep_edge_active_pattern{node="gate",pattern="acoustic"}'
    ]
    assert len(active) == 3


def test_the_service_and_its_sinks(view: PretendView, durations: Durations) -> None:
    found = values(view, durations)
    labels = 'backend="onnxruntime",bundle="vehicles",created="2026-05-04",precision="int8",version="0.4.0"'
    assert found[f"rep_edge_info{{{labels}}}"] == 1
    assert found["rep_edge_ready"] == 1
    assert found['rep_edge_sink_behind{sink="mqtt"}'] == 17
    assert found['rep_edge_sink_delivered_total{sink="jsonl"}'] == 412
    assert found['rep_edge_sink_lost_total{sink="jsonl"}'] == 0
    assert found["rep_edge_wrong_tokens_total"] == 3


def test_durations_are_a_histogram(view: PretendView, durations: Durations) -> None:
    found = values(view, durations)
    labels = 'backend="onnxruntime",pattern="acoustic+seismic"'
    name = "rep_edge_inference_duration_seconds"
    buckets = {bound: f'backend="onnxruntime",le="{bound}",pattern="acoustic+seismic"' for bound in BOUNDS}
    at_most = {bound: found[f"{name}_bucket{{{bucket}}}"] for bound, bucket in buckets.items()}
    assert at_most == {"0.002": 0, "0.005": 2, "0.5": 3, "+Inf": 4}
    assert found[f"{name}_count{{{labels}}}"] == 4
    assert found[f"{name}_sum{{{labels}}}"] == pytest.approx(60.309)


def test_two_services_in_one_process_do_not_meet(view: PretendView, durations: Durations) -> None:
    first = Exposition(view.status, durations, lambda: 0)
    second = Exposition(view.status, Durations(), lambda: 0)
    assert b"rep_edge_inference_duration_seconds_count" in first.text()
    assert b"rep_edge_inference_duration_seconds_count" not in second.text()
