"""Tasks: losses and scores against scikit-learn and by hand, and what is said of data of another task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

from rep_edge.errors import InputError
from rep_edge.runtime.activation import activate
from rep_edge.tasks import TASKS

RNG = np.random.default_rng(0)


def test_auroc_is_that_of_the_second_of_two_labels() -> None:
    p = RNG.dirichlet(np.ones(2), 200).astype(np.float32)
    y = RNG.integers(0, 2, 200)
    found = TASKS["multiclass"].scores(p, y)
    assert found["auroc"] == pytest.approx(roc_auc_score(y, p[:, 1]), abs=1e-6)
    assert "auroc" not in TASKS["multiclass"].scores(RNG.dirichlet(np.ones(3), 20).astype(np.float32), y[:20])


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1_of_several_labels_is_scikit_learns(average: str) -> None:
    p = RNG.random((300, 5)).astype(np.float32)
    y = (RNG.random((300, 5)) < [0.1, 0.3, 0.5, 0.7, 0.02]).astype(np.float32)
    found = TASKS["multilabel"].scores(p, y)[f"{average}_f1"]
    assert found == pytest.approx(f1_score(y, p >= 0.5, average=average), abs=1e-5)


def test_losses_by_hand() -> None:
    output, both = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    wanted = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    assert float(TASKS["multilabel"].loss(output, both, 0.0)) == pytest.approx(wanted, rel=1e-6)
    assert float(TASKS["regression"].loss(torch.tensor([[2.0], [0.0]]), torch.tensor([1.0, -3.0]), 0.0)) == 2.0
    wanted = -2.0 + np.log(np.exp(2.0) + np.exp(-1.0))
    assert float(TASKS["multiclass"].loss(output, torch.tensor([0]), 0.0)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_a_teachers_own_answers_are_the_nearest(task: str) -> None:
    taught = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    answers = TASKS[task].answers(taught)
    near = TASKS[task].distance(taught, answers)
    for step in (0.1, -0.1):
        away = taught.clone()
        away[:, 0] += step
        assert TASKS[task].distance(away, answers) > near


@pytest.mark.parametrize("task", TASKS)
def test_the_device_turns_outputs_into_the_same_answers(task: str) -> None:
    output = 5 * RNG.standard_normal((6, 1 if task == "regression" else 4)).astype(np.float32)
    wanted = TASKS[task].answers(torch.from_numpy(output)).numpy()
    np.testing.assert_allclose(activate(task, output), wanted, atol=1e-6)


@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_far_logits_do_not_overflow(value: float) -> None:
    found = activate("multilabel", np.array([[value]], np.float32))
    assert found == pytest.approx(float(value > 0))


def test_data_of_another_task_are_refused() -> None:
    with pytest.raises(InputError, match="task: multiclass, but movies is multilabel; set  task: multilabel"):
        TASKS["multiclass"].check(np.zeros((4, 3), np.float32), "movies")
    with pytest.raises(InputError, match="task: multilabel, but clips is regression"):
        TASKS["multilabel"].check(np.zeros(4, np.float32), "clips")


def test_a_metric_that_is_none_or_no_headline_is_refused() -> None:
    assert TASKS["multilabel"].headline(None) == "macro_f1"
    with pytest.raises(InputError, match="metric: auroc is none of a multilabel task; choose one of macro_f1"):
        TASKS["multilabel"].headline("auroc")
    with pytest.raises(InputError, match="metric: mae"):
        TASKS["regression"].headline("mae")


def test_windows_of_each_label_are_counted() -> None:
    assert TASKS["multiclass"].count(np.array([0, 1, 1]), ("a", "b", "c")) == {"a": 1, "b": 2, "c": 0}
    assert TASKS["multilabel"].count(np.array([[1, 0], [1, 1]], np.float32), ("a", "b")) == {"a": 2, "b": 1}
    counted = TASKS["regression"].count(np.array([-0.5, 0.0, 2.0, 3.0], np.float32), ("negative", "positive"))
    assert counted == {"negative": 1, "neutral": 1, "positive": 2}
