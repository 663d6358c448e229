"""The loop itself may stand still for seconds, on a busy machine or a slow disk; that costs no hop and no stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from bundles import PAIR, make_bundle
from faulted import BOTH, CHUNK_S, deliveries, make_node, require_every_hop

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.faults.fault import KINDS, Fault
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.service.loop import Loop, Member
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.node import Node
from rep_edge.runtime.service.outlets import Outlets
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sources.feed import Feed
from rep_edge.runtime.sources.live import Chunk


class Queue:
    """Stands for the feed of a sensor."""

    address, connection, rate_hz, dropped, reconnects = "test:", "connected", 100.0, 0, 0

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self.waiting: list[Chunk] = []

    def take(self) -> list[Chunk]:
        taken, self.waiting = self.waiting, []
        return taken

    def reconnect(self, why: str) -> None:
        pass


class Heard:
    """A node in its loop, and what it was told."""

    def __init__(self, bundle: Path, journal: Journal, patch: pytest.MonkeyPatch) -> None:
        classifier = Classifier.load(bundle, backend="onnxruntime-cpu")
        self.node, self.queues = make_node(classifier), {name: Queue() for name in PAIR.names}
        self.predictions: list[Prediction] = []
        self.events: list[Event] = []
        self.loop = Loop(
            [Member(self.node, cast("dict[str, Feed]", self.queues))], classifier, Outlets(journal), Durations()
        )
        finish = Node.finish

        def noted(node: Node, prediction: Prediction, wall_offset_s: float) -> list[Event]:
            self.predictions.append(prediction)
            made = finish(node, prediction, wall_offset_s)
            self.events += made
            return made

        patch.setattr(Node, "finish", noted)

    def play(self, delivered: Iterator[tuple[str, Chunk]], turns_s: Sequence[float]) -> None:
        """The loop turns at these times and at no others."""
        following = next(delivered, None)
        for now_s in turns_s:
            while following is not None and following[1].arrived_s <= now_s + 1e-6:
                self.queues[following[0]].waiting.append(following[1])
                following = next(delivered, None)
            self.loop.turn(now_s, 1.7e9)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def heard(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Heard:
    return Heard(make_bundle(tmp_path / "bundle"), journal, monkeypatch)


def turns_without(still_s: Sequence[tuple[float, float]], until_s: float) -> list[float]:
    """A turn every CHUNK_S but within these spans."""
    times = [CHUNK_S * i for i in range(round(until_s / CHUNK_S) + 1)]
    return [t for t in times if not any(start_s < t < end_s for start_s, end_s in still_s)]


@pytest.mark.parametrize("length_s", [0.7, 2.0, 5.0, 9.0])
def test_a_loop_that_stood_still_takes_up_all_streams_where_it_left_them(heard: Heard, length_s: float) -> None:
    heard.play(deliveries([], 31), turns_without([(10.0, 10.0 + length_s), (25.0, 25.0 + length_s)], 35))
    made = [prediction for prediction in heard.predictions if prediction.end_s <= 30]
    require_every_hop(made, 30)
    assert {prediction.pattern for prediction in made} == {BOTH}


def test_every_event_of_a_node_under_faults_is_in_the_journal_once_and_in_order(heard: Heard, journal: Journal) -> None:
    faults = [
        Fault(stream=name, kind=kind, value=KINDS[kind].default, start_s=6.0 * i + shift, end_s=6.0 * i + shift + 3)
        for i, kind in enumerate(KINDS, 1)
        for shift, name in enumerate(PAIR.names)
    ]
    heard.play(deliveries(faults, 95), turns_without([(30.0, 33.0)], 95))
    heard.loop.finish(95.0, 1.7e9)
    written = [event.id for _, event in journal.after(0, 10_000)]
    assert len(written) > 5
    assert written[: len(heard.events)] == [event.id for event in heard.events]
    assert len(set(written)) == len(written)
