"""A replay is the recordings on one time line, with the silences and at the speed that were asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from bundles import PAIR, make_bundle

from rep_edge.errors import InputError
from rep_edge.runtime import replay as replay_module
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.replay import Drop, Replay, parse_drops
from rep_edge.runtime.sources.recording import Piece, Recording
from rep_edge.runtime.streaming import StreamingClassifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(make_bundle(tmp_path_factory.mktemp("pair") / "bundle"))


def recording(name: str, *spans: tuple[float, float], absolute: bool = False) -> Recording:
    """Noise in each span of time."""
    rate_hz = PAIR[name].rate_hz

    def pieces() -> Iterator[Piece]:
        rng = np.random.default_rng(0)
        for start, stop in spans:
            for i in range(round(10 * (stop - start))):
                yield Piece(start + i / 10, rng.standard_normal((1, round(rate_hz / 10))).astype(np.float32))

    return Recording(spans[0][0], spans[-1][1] - spans[0][0], absolute, "", pieces)


def play(classifier: Classifier, recordings: dict[str, Recording], drops: str = "") -> list[tuple[float, str]]:
    replay = Replay(recordings, PAIR)
    made = replay.play(StreamingClassifier(classifier), parse_drops(drops, PAIR), real_time=False)
    return [(round(p.end_s, 6), p.pattern) for p in made]


def live(made: list[tuple[float, str]], pattern: str) -> list[float]:
    return [end for end, found in made if found == pattern]


def test_side_by_side(classifier: Classifier) -> None:
    made = play(classifier, {"acoustic": recording("acoustic", (0, 6)), "seismic": recording("seismic", (0, 6))})
    assert made == [(1 + 0.5 * i, "acoustic+seismic") for i in range(11)]


def test_drops(classifier: Classifier) -> None:
    sources = {"acoustic": recording("acoustic", (0, 16)), "seismic": recording("seismic", (0, 16))}
    made = play(classifier, sources, "acoustic@3-6,seismic@5-8,acoustic@12-13,seismic@12-13")
    assert [end for end, _ in made] == [1 + 0.5 * i for i in range(31)]
    assert live(made, "seismic") == [3.5, 4.0, 4.5, 5.0]
    assert live(made, "acoustic") == [7.5, 8.0, 8.5, 9.0]
    assert live(made, "") == [5.5, 6.0, 6.5, 7.0, 12.5, 13.0, 13.5, 14.0]


def test_a_modality_without_a_source_is_absent_from_the_start(classifier: Classifier) -> None:
    made = play(classifier, {"seismic": recording("seismic", (0, 4))})
    assert made == [(1 + 0.5 * i, "seismic") for i in range(7)]


def test_a_silence_of_all_leaves_no_hole_in_time(classifier: Classifier) -> None:
    made = play(classifier, {"seismic": recording("seismic", (0, 3), (200, 203))})
    assert [end for end, _ in made] == [1 + 0.5 * i for i in range(405)]
    assert live(made, "seismic") == [1, 1.5, 2, 2.5, 3, 201.5, 202, 202.5, 203]


def test_one_recording_longer_than_the_other(classifier: Classifier) -> None:
    made = play(classifier, {"acoustic": recording("acoustic", (0, 3)), "seismic": recording("seismic", (0, 5))})
    assert live(made, "acoustic+seismic") == [1, 1.5, 2, 2.5, 3]
    assert live(made, "seismic") == [3.5, 4, 4.5, 5]


def test_recordings_with_the_time_of_day_keep_their_distance(classifier: Classifier) -> None:
    day = 1.7e9
    sources = {
        "acoustic": recording("acoustic", (day + 2, day + 6), absolute=True),
        "seismic": recording("seismic", (day, day + 6), absolute=True),
    }
    made = play(classifier, sources)
    assert live(made, "seismic") == [1, 1.5, 2, 2.5]
    assert live(made, "acoustic+seismic") == [3, 3.5, 4, 4.5, 5, 5.5, 6]
    sources["acoustic"] = recording("acoustic", (0, 6))
    assert len(live(play(classifier, sources), "acoustic+seismic")) == 11


def test_recordings_of_different_days() -> None:
    sources = {name: recording(name, (i * 1e6, i * 1e6 + 5), absolute=True) for i, name in enumerate(PAIR.names)}
    with pytest.raises(InputError, match="acoustic and seismic: were recorded on different days"):
        Replay(sources, PAIR)


def test_a_recording_shorter_than_a_window() -> None:
    with pytest.raises(InputError, match=r"seismic: 0\.50 s are shorter than a window of 1 s"):
        Replay({"seismic": recording("seismic", (0, 0.5))}, PAIR)


class Clock:
    """A clock that sleeping moves, and a look at what it showed."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 0.1
        self.now += seconds


def test_real_time_waits_until_samples_would_have_come(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(replay_module, "time", clock)
    replay = Replay({"acoustic": recording("acoustic", (0, 4)), "seismic": recording("seismic", (0, 2), (5, 8))}, PAIR)
    made = [
        (p.end_s, p.pattern, clock.now - 1000) for p in replay.play(StreamingClassifier(classifier), [], real_time=True)
    ]
    assert [end for end, _, _ in made] == [1 + 0.5 * i for i in range(15)]
    for end, _, shown in made:
        assert end - 1e-6 <= shown <= end + 0.6
    assert made[-1][1] == "seismic"
    assert [pattern for end, pattern, _ in made if end == 5.0] == [""]


def test_drops_are_read() -> None:
    assert parse_drops("acoustic@10-20, seismic@30.5-40", PAIR) == [
        Drop("acoustic", 10.0, 20.0),
        Drop("seismic", 30.5, 40.0),
    ]
    assert parse_drops(None, PAIR) == []
    for text, words in (
        ("acoustic", "must be NAME@FROM-TO in seconds, such as acoustic@10-20"),
        ("acoustic@10", "must be NAME@FROM-TO"),
        ("acoustic@-5-10", "must be NAME@FROM-TO"),
        ("acoustic@1-2,", "must be NAME@FROM-TO"),
        ("radar@1-2", "radar is no modality of this bundle"),
        ("acoustic@5-5", "ends before it begins"),
    ):
        with pytest.raises(InputError, match=words):
            parse_drops(text, PAIR)
