"""A node: every hop is due whatever comes, events carry wall time, recordings are cut when all of them is there."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from bundles import LABELS, make_bundle
from nodes import CLIP, EAGER, chunks, make_node, noise

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.manifest import HealthRecord
from rep_edge.runtime.predicting import predict
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.service.node import Node

WALL_S = 1.7e9
"""What makes a time on the common line one since 1970."""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(make_bundle(tmp_path_factory.mktemp("node") / "bundle"))


def answer(node: Node, classifier: Classifier) -> tuple[list[Prediction], list[Event]]:
    predictions = predict(classifier, node.take_due())
    return predictions, [event for prediction in predictions for event in node.finish(prediction, WALL_S)]


def play(node: Node, classifier: Classifier, seconds: float, **where: float) -> tuple[list[Prediction], list[Event]]:
    node.advance(where.get("begin_s", 0.0))
    for name, chunk in chunks(noise(seconds=seconds), **where):
        node.receive(name, chunk)
        node.advance(chunk.arrived_s)
    return answer(node, classifier)


def test_every_hop_is_due_once_with_sensors_and_without(classifier: Classifier) -> None:
    node = make_node()
    node.advance(100.0)
    node.advance(110.0)
    predictions, _ = answer(node, classifier)
    ends = [prediction.end_s for prediction in predictions]
    assert np.allclose(np.diff(ends), 0.5)
    assert 17 <= len(ends) <= 19
    assert all(prediction.label is None for prediction in predictions)
    assert node.take_due() == []


def test_sensors_are_placed_by_when_they_arrive_whatever_their_clocks_show(classifier: Classifier) -> None:
    predictions, _ = play(make_node(), classifier, 5.0, begin_s=1000.0, own_s=1.6e9)
    assert [p.pattern for p in predictions].count("acoustic+seismic") >= len(predictions) - 2
    assert 1000.0 < predictions[0].end_s < 1002.0


def test_events_have_the_time_of_the_wall(classifier: Classifier) -> None:
    _, events = play(make_node(), classifier, 10.0, begin_s=50.0)
    assert events
    assert all(WALL_S + 50 <= event.start_s <= event.end_s <= WALL_S + 60.1 for event in events)


def test_each_hop_has_its_verdict(classifier: Classifier) -> None:
    node = make_node()
    predictions, _ = play(node, classifier, 5.0)
    assert len(node.verdicts) == len(predictions) == node.counts.windows
    assert all(verdict.why for verdict in node.verdicts)


def test_counters_say_what_happened(classifier: Classifier) -> None:
    node = make_node()
    predictions, events = play(node, classifier, 10.0)
    counts = node.counts
    assert sum(counts.patterns.values()) == counts.windows == len(predictions)
    assert sum(counts.events.values()) == sum(event.phase == "onset" for event in events)
    assert counts.switches == sum(a.pattern != b.pattern for a, b in pairwise(predictions))


def test_a_recording_is_cut_once_its_last_second_has_come(classifier: Classifier) -> None:
    node = make_node(clip=CLIP)
    _, events = play(node, classifier, 10.0)
    ended = [event for event in events if event.phase == "end"]
    assert all(event.clip == event.track for event in ended)
    assert node.take_clips(0.0, WALL_S) == []
    clips = node.take_clips(1e3, WALL_S)
    assert [clip.event for clip in clips] == ended
    assert node.take_clips(1e3, WALL_S) == []
    for clip in clips:
        length_s = clip.waveforms["acoustic"].shape[1] / 800
        wanted_s = min(clip.event.end_s - clip.event.start_s, CLIP.longest_s) + CLIP.before_s + CLIP.after_s
        assert length_s == pytest.approx(wanted_s, abs=0.02)
        assert clip.start_s == pytest.approx(clip.event.end_s + CLIP.after_s - length_s, abs=0.02)


def test_without_recordings_no_event_names_one(classifier: Classifier) -> None:
    node = make_node()
    _, events = play(node, classifier, 5.0)
    assert not any(event.clip for event in events)
    assert node.take_clips(1e3, WALL_S, at_once=True) == []


def test_tracks_that_go_on_are_ended_when_the_classes_change(classifier: Classifier) -> None:
    node = make_node(tracks=EAGER)
    _, events = play(node, classifier, 5.0)
    manifest = classifier.bundle.manifest
    assert node.adopt(manifest, WALL_S) == []
    ended = node.adopt(msgspec.structs.replace(manifest, labels=(*LABELS, "bus")), WALL_S)
    assert {event.phase for event in ended} <= {"end"}
    open_tracks = {e.track for e in events if e.phase == "onset"} - {e.track for e in events if e.phase == "end"}
    assert {event.track for event in ended} == open_tracks
    assert node.labels == (*LABELS, "bus")


def test_another_bundle_brings_what_it_saw_in_training(classifier: Classifier) -> None:
    node = make_node()
    quiet = HealthRecord(
        windows=1, noise_low=1e-6, noise_high=1e-5, mean_low=0.0, mean_high=0.0, largest=1e6, clipped=0.0, stuck_s=0.0
    )
    node.adopt(msgspec.structs.replace(classifier.bundle.manifest, health={"acoustic": quiet}), WALL_S)
    predictions, _ = play(node, classifier, 10.0)
    assert predictions[-1].suspects.keys() == {"acoustic"}


def test_a_stream_that_is_lost_is_told_once(classifier: Classifier) -> None:
    node = make_node()
    play(node, classifier, 5.0)
    node.take_transitions()
    node.advance(10.0)
    answer(node, classifier)
    assert sorted(change.name for change in node.take_transitions() if change.new == "lost") == ["acoustic", "seismic"]
    assert node.take_transitions() == []
