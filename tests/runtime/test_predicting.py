"""Every window gets its answer, together or alone, and a second one without what is suspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bundles import PAIR, make_bundle, random_windows

from rep_edge.errors import InputError
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.health import StreamHealth
from rep_edge.runtime.predicting import predict
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.windows import LiveWindow

LIVE = StreamHealth("live")
SUSPECT = StreamHealth("suspect", "noise_low", "noise of 1, below 2")
LOST = StreamHealth("lost", "no_samples", "no samples for 2.0 s")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(make_bundle(tmp_path_factory.mktemp("pair") / "bundle"))


@pytest.fixture
def runs(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows each run had."""
    sizes: list[int] = []
    batch = Classifier.batch

    def noted(self: Classifier, windows: Sequence[Any], start_s: Sequence[float]) -> list[Prediction]:
        sizes.append(len(windows))
        return batch(self, windows, start_s)

    monkeypatch.setattr(Classifier, "batch", noted)
    return sizes


def window(seed: int, acoustic: StreamHealth = LIVE, seismic: StreamHealth = LIVE) -> LiveWindow:
    health = {"acoustic": acoustic, "seismic": seismic}
    values = random_windows(seed=seed)
    return LiveWindow(
        start_s=float(seed),
        end_s=seed + 1.0,
        values={name: values[name] for name in PAIR.names if health[name].takes_part},
        health=health,
        reasons={name: h.told for name, h in health.items() if not h.takes_part},
        suspects={name: h.told for name, h in health.items() if h.state == "suspect"},
    )


def near(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    return found.keys() == expected.keys() and all(abs(found[key] - expected[key]) < 1e-6 for key in expected)


def test_windows_of_many_nodes_are_answered_by_pattern_and_in_order(classifier: Classifier, runs: list[int]) -> None:
    kinds = [(LIVE, LIVE), (LOST, LIVE), (LIVE, LOST), (LOST, LOST)]
    windows = [window(seed, *kinds[seed % 4]) for seed in range(12)]
    answers = predict(classifier, windows)
    assert sorted(runs) == [3, 3, 3]
    for asked, answer in zip(windows, answers, strict=True):
        assert (answer.start_s, answer.end_s, answer.reasons) == (asked.start_s, asked.end_s, asked.reasons)
        assert answer.pattern == "+".join(asked.values)
        if asked.values:
            assert near(answer.probabilities, classifier(asked.values).probabilities)
            assert answer.latency_s > 0
        else:
            assert (answer.label, answer.probabilities, answer.latency_s) == (None, {}, 0.0)
        assert (answer.suspects, answer.alternative) == ({}, None)


def test_no_run_is_larger_than_sixteen(classifier: Classifier, runs: list[int]) -> None:
    answers = predict(classifier, [window(seed) for seed in range(40)])
    assert [answer.start_s for answer in answers] == list(range(40))
    assert runs == [16, 16, 8]


def test_no_window_no_answer(classifier: Classifier) -> None:
    assert predict(classifier, []) == []


def test_with_a_suspect_there_is_a_second_answer_without_it(classifier: Classifier) -> None:
    asked = window(3, acoustic=SUSPECT)
    (answer,) = predict(classifier, [asked])
    other = classifier({"seismic": asked.values["seismic"]})
    assert answer.suspects == {"acoustic": "noise of 1, below 2"}
    assert (answer.pattern, answer.reasons) == ("acoustic+seismic", {})
    assert answer.alternative is not None
    assert (answer.alternative.pattern, answer.alternative.label) == ("seismic", other.label)
    assert near(answer.alternative.probabilities, other.probabilities)
    apart = sum(abs(answer.probabilities[label] - p) for label, p in other.probabilities.items()) / 2
    assert 0 < answer.alternative.disagreement <= 1
    assert answer.alternative.disagreement == pytest.approx(apart)


def test_where_nothing_else_is_live_a_suspect_answers_alone(classifier: Classifier) -> None:
    for asked in (window(1, SUSPECT, LOST), window(1, SUSPECT, SUSPECT)):
        (answer,) = predict(classifier, [asked])
        assert answer.label is not None
        assert answer.suspects == asked.suspects
        assert answer.alternative is None


def test_a_window_that_cannot_be_computed_is_told_and_spoils_no_other(classifier: Classifier) -> None:
    windows = [window(seed) for seed in range(4)]
    windows[2].values["acoustic"][:] = 3e38
    answers = predict(classifier, windows)
    assert [answer.label is None for answer in answers] == [False, False, True, False]
    assert (answers[2].pattern, answers[2].probabilities) == ("", {})
    assert set(answers[2].reasons) == {"acoustic", "seismic"}
    assert "too large" in answers[2].reasons["acoustic"]
    assert near(answers[3].probabilities, classifier(windows[3].values).probabilities)


def test_a_suspect_that_cannot_be_computed_leaves_no_answer(classifier: Classifier) -> None:
    asked = window(0, acoustic=SUSPECT)
    asked.values["acoustic"][:] = 3e38
    (answer,) = predict(classifier, [asked])
    assert (answer.label, answer.alternative) == (None, None)


def test_a_backend_that_fails_is_told(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise InputError("the GPU is gone")

    monkeypatch.setattr(Classifier, "_run", fails)
    answers = predict(classifier, [window(0), window(1, LOST, LIVE)])
    assert answers[0].reasons == dict.fromkeys(PAIR.names, "the GPU is gone")
    assert answers[1].reasons == {"acoustic": LOST.told, "seismic": "the GPU is gone"}
