"""Windows of one or many nodes to predictions: those with the same streams together, and a second answer without the
streams that are suspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.prediction import Alternative, Prediction
from rep_edge.runtime.windows import LiveWindow

MOST_TOGETHER = 16
"""Windows in one run of a graph, which bounds its memory."""

Answer: TypeAlias = Prediction | InputError


class _Question(NamedTuple):
    values: Mapping[str, NDArray[np.float32]]
    start_s: float


def predict(classifier: Classifier, windows: Sequence[LiveWindow]) -> list[Prediction]:
    """One prediction for each window, in order. It never raises for what is in them: a window that cannot be computed
    has no label, and the reasons say why."""
    asked = {i: _Question(window.values, window.start_s) for i, window in enumerate(windows) if window.values}
    doubted = {i: _without(windows[i]) for i in asked if windows[i].suspects}
    answers = _answer(classifier, asked)
    others = _answer(classifier, {i: question for i, question in doubted.items() if question.values})
    return [_prediction(window, answers.get(i), others.get(i)) for i, window in enumerate(windows)]


def _without(window: LiveWindow) -> _Question:
    """The window without its suspects."""
    trusted = {name: values for name, values in window.values.items() if name not in window.suspects}
    return _Question(trusted, window.start_s)


def _answer(classifier: Classifier, questions: Mapping[int, _Question]) -> dict[int, Answer]:
    """Answers to questions, those of one pattern together."""
    together: dict[frozenset[str], list[int]] = {}
    for i, question in questions.items():
        together.setdefault(frozenset(question.values), []).append(i)
    answers: dict[int, Answer] = {}
    for group in together.values():
        for at in range(0, len(group), MOST_TOGETHER):
            part = group[at : at + MOST_TOGETHER]
            answers.update(zip(part, _answer_alike(classifier, [questions[i] for i in part]), strict=True))
    return answers


def _answer_alike(classifier: Classifier, questions: Sequence[_Question]) -> Sequence[Answer]:
    """Answers to questions of one pattern; one by one where one of them spoils the run of all."""
    if len(questions) > 1:
        try:
            return classifier.batch([question.values for question in questions], [q.start_s for q in questions])
        except InputError:
            pass
    return [_answer_one(classifier, question) for question in questions]


def _answer_one(classifier: Classifier, question: _Question) -> Answer:
    try:
        return classifier(question.values, question.start_s)
    except InputError as error:
        return error


def _prediction(window: LiveWindow, answer: Answer | None, other: Answer | None) -> Prediction:
    if not isinstance(answer, Prediction):
        reasons = window.reasons if answer is None else window.reasons | dict.fromkeys(window.values, str(answer))
        return Prediction(
            label=None,
            probabilities={},
            pattern="",
            latency_s=0.0,
            start_s=window.start_s,
            end_s=window.end_s,
            reasons=reasons,
        )
    alternative = _alternative(answer, other) if isinstance(other, Prediction) else None
    return msgspec.structs.replace(
        answer, end_s=window.end_s, reasons=window.reasons, suspects=window.suspects, alternative=alternative
    )


def _alternative(answer: Prediction, other: Prediction) -> Alternative:
    assert other.label is not None
    apart = sum(abs(share - other.probabilities[label]) for label, share in answer.probabilities.items()) / 2
    return Alternative(
        pattern=other.pattern, label=other.label, probabilities=other.probabilities, disagreement=min(1.0, apart)
    )
