"""The loop: what sensors delivered becomes events on the disk, in order, whatever disk, sensor or bundle do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from bundles import LABELS, PAIR, make_bundle
from nodes import CLIP, chunks, make_node, noise

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.clips import Clips, ClipSettings
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.service.loop import BACKLOG, Loop, Member
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.outlets import Outlets
from rep_edge.runtime.sinks.journal import Journal, JournalError
from rep_edge.runtime.sources.live import Chunk

WALL_S = 1.7e9


class Given:
    """Stands for the feed of a sensor: what is put into `waiting` has been delivered."""

    def __init__(self) -> None:
        self.waiting: list[Chunk] = []
        self.connection, self.again = "connected", []
        self.rate_hz, self.dropped, self.refused, self.reconnects = 100.0, 0, {}, 0

        self.address = "given:"

    def take(self) -> list[Chunk]:
        taken, self.waiting = self.waiting, []
        return taken

    def reconnect(self, why: str) -> None:
        self.again.append(why)


class Stage:
    """A loop around nodes whose sensors are given."""

    def __init__(self, folder: Path, names: Sequence[str] = ("yard",), clips: Clips | None = None) -> None:
        self.bundle = make_bundle(folder / "bundle")
        self.journal = Journal(folder / "journal.sqlite")
        self.feeds = {name: {stream: Given() for stream in PAIR.names} for name in names}
        clip = CLIP if clips else None
        members = [Member(make_node(name, clip=clip), self.feeds[name]) for name in names]  # type: ignore[arg-type]
        self.progress = 0
        outlets, self.durations = Outlets(self.journal, clips), Durations()
        self.loop = Loop(members, Classifier.load(self.bundle), outlets, self.durations, self._progressed)
        self.now_s = 0.0
        self.loop.turn(0.0, WALL_S)

    def _progressed(self) -> None:
        self.progress += 1

    def play(self, seconds: float, seed: int = 0) -> None:
        """All sensors deliver, and the loop turns, for so long."""
        for name, chunk in chunks(noise(seconds=seconds, seed=seed), begin_s=self.now_s, own_s=self.now_s):
            for feeds in self.feeds.values():
                feeds[name].waiting.append(chunk)
            if name == PAIR.names[-1]:
                self.loop.turn(chunk.arrived_s, WALL_S)
        self.now_s += seconds

    def written(self) -> list[Event]:
        return [event for _, event in self.journal.after(0, 10_000)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_events_are_in_the_journal_after_the_turn_that_made_them(stage: Stage) -> None:
    stage.play(10.0)
    written = stage.written()
    assert {event.phase for event in written} >= {"onset", "end"}
    assert sum(event.phase == "onset" for event in written) == stage.loop.members[0].node.counts.events.total()


def test_the_loop_tells_its_progress_when_it_has_answered_windows_and_not_else(stage: Stage) -> None:
    stage.play(5.0)
    progress, windows = stage.progress, stage.loop.members[0].node.counts.windows
    assert 0 < progress <= windows
    stage.loop.turn(stage.now_s, WALL_S)
    assert stage.progress == progress


def test_windows_of_all_nodes_are_answered(tmp_path: Path) -> None:
    stage = Stage(tmp_path, names=("a", "b", "c"))
    stage.play(5.0)
    counts = [member.node.counts for member in stage.loop.members]
    assert counts[0].windows >= 7
    assert all(count.patterns == counts[0].patterns for count in counts)
    assert {event.node for event in stage.written()} == {"a", "b", "c"}


def test_a_disk_that_takes_nothing_costs_no_event(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Journal, event: Event) -> int:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        stage.play(10.0)
        assert stage.written() == []
    stage.play(1.0)
    onsets = [event for event in stage.written() if event.phase == "onset"]
    assert len(onsets) == stage.loop.members[0].node.counts.events.total()
    for track in {event.track for event in onsets}:
        numbers = [int(event.id.rpartition(".")[2]) for event in stage.written() if event.track == track]
        assert numbers == list(range(len(numbers)))
    assert stage.loop.lost == 0


def test_the_backlog_is_bounded_and_what_goes_is_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.runtime.service.loop.BACKLOG", 3)

    def full(self: Journal, event: Event) -> int:
        raise JournalError("the disk is full")

    monkeypatch.setattr(Journal, "append", full)
    stage.play(20.0)
    assert stage.loop.lost > 0
    assert BACKLOG >= 100


def test_a_sensor_that_is_not_believed_for_a_while_is_opened_again(stage: Stage) -> None:
    stage.play(3.0)
    for seconds in range(8):
        stage.loop.turn(stage.now_s + seconds, WALL_S)
    assert stage.feeds["yard"]["seismic"].again == []
    for seconds in range(8, 20):
        stage.loop.turn(stage.now_s + seconds, WALL_S)
    (why,) = stage.feeds["yard"]["seismic"].again
    assert why.startswith("no samples for")


def test_a_new_classifier_takes_over_between_two_windows(stage: Stage, tmp_path: Path) -> None:
    stage.play(5.0)
    new = Classifier.load(make_bundle(tmp_path / "new", temperatures={"acoustic+seismic": 100.0}))
    swapped: list[bool] = []
    other = threading.Thread(target=lambda: swapped.append(stage.loop.swap(new, 10.0)))
    other.start()
    while not swapped:
        stage.play(0.5)
    other.join()
    assert swapped == [True]
    assert stage.loop.classifier is new
    stage.play(3.0)
    latest = stage.loop.members[0].node.latest
    assert latest is not None
    assert max(latest.probabilities.values()) < 0.36
    windows = stage.loop.members[0].node.counts.windows
    assert windows == pytest.approx(stage.now_s / 0.5, abs=4)


def test_a_swap_that_nobody_takes_over_is_taken_back(stage: Stage, tmp_path: Path) -> None:
    before = stage.loop.classifier
    assert not stage.loop.swap(Classifier.load(make_bundle(tmp_path / "new")), 0.01)
    stage.play(2.0)
    assert stage.loop.classifier is before


def test_recordings_of_tracks_are_written(tmp_path: Path) -> None:
    clips = Clips(tmp_path / "clips", PAIR, ClipSettings())
    stage = Stage(tmp_path, clips=clips)
    stage.play(10.0)
    stage.loop.finish(stage.now_s, WALL_S)
    clips.close()
    ended = {event.track for event in stage.written() if event.phase == "end"}
    assert set(clips.tracks()) <= ended
    assert clips.written + clips.dropped == len(ended)
    assert clips.written > 0


def test_when_the_loop_ends_every_track_has_its_end(stage: Stage) -> None:
    stage.play(5.0)
    stage.loop.finish(stage.now_s, WALL_S)
    written = stage.written()
    assert {e.track for e in written if e.phase == "onset"} == {e.track for e in written if e.phase == "end"}


def test_the_report_says_how_the_nodes_are(stage: Stage) -> None:
    stage.play(5.0)
    (node,) = stage.loop.report
    assert (node.name, node.pattern) == ("yard", "acoustic+seismic")
    assert node.label in LABELS
    assert [stream.name for stream in node.streams] == list(PAIR.names)
    assert all(stream.state == "live" and stream.address == "given:" for stream in node.streams)
    assert node.streams[0].last_sample_s == pytest.approx(WALL_S + stage.now_s, abs=0.2)
    assert stage.durations.histograms()


def test_in_its_own_thread_it_turns_until_it_is_closed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = threading.Event()
    monkeypatch.setattr(stage.loop, "turn", lambda now_s, wall_offset_s: turned.set())
    stage.loop.start()
    assert turned.wait(10.0)
    stage.loop.close()
    assert stage.loop.failed is None


def test_what_ends_the_loop_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(now_s: float, wall_offset_s: float) -> None:
        turned.set()
        raise RuntimeError("a fault of ours")

    turned = threading.Event()
    monkeypatch.setattr(stage.loop, "turn", broken)
    stage.loop.start()
    assert turned.wait(10.0)
    stage.loop.close()
    assert "a fault of ours" in str(stage.loop.failed)
