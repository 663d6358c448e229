"""The search for layers to keep: it ends, keeps no more than it must, and is not fooled by luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from test_fp16 import loud, power_graph

from rep_edge.calibration.search import Judge, Judgement, keep_fewest
from rep_edge.calibration.windows import LabelledWindows


def judgement(loss: float = 0.0, standard_error: float = 0.0, worst: float = 0.0) -> Judgement:
    return Judgement(100, 0.8 - loss, 0.8, 0.9, loss, standard_error, {"real": 0.0, "huge": worst})


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (judgement(), True),
        (judgement(loss=-0.02, standard_error=0.004), True),
        (judgement(loss=0.004), True),
        (judgement(loss=0.004, standard_error=0.001), False),
        (judgement(loss=0.006), False),
        (judgement(worst=0.2), False),
        (judgement(worst=float("inf")), False),
        (judgement(worst=float("nan")), False),
    ],
)
def test_within_the_budget_beyond_chance_and_within_the_tolerance(found: Judgement, wanted: bool) -> None:
    assert found.within(budget=0.005, tolerance=0.1) is wanted


@pytest.mark.parametrize("needed", [0, 1, 5, 30])
def test_as_few_layers_as_suffice_are_kept(needed: int) -> None:
    order = [f"layer{i}" for i in range(30)]
    tried: list[int] = []

    def make(first: Sequence[str]) -> onnx.ModelProto:
        assert list(first) == order[: len(first)]
        tried.append(len(first))
        return onnx.ModelProto()

    count, _ = keep_fewest(order, make, lambda _: judgement(loss=0.0 if tried[-1] >= needed else 1.0), 0.005, 0.1)
    assert needed <= count <= max(needed, round(1.25 * needed))
    assert len(tried) <= 20


def test_with_everything_kept_it_ends_whatever_the_judge_says() -> None:
    count, found = keep_fewest(["a", "b"], lambda _: onnx.ModelProto(), lambda _: judgement(loss=1.0), 0.0, 0.0)
    assert (count, found.loss) == (2, 1.0)


def test_a_judge_compares_labels_probabilities_and_accuracy() -> None:
    model, windows = power_graph(), LabelledWindows(loud(3.0), np.array([0, 1, 2, 0, 1]))
    same = Judge(model, windows, {"loud": loud()})(model)
    assert (same.loss, same.standard_error, same.agreement) == (0.0, 0.0, 1.0)
    assert same.errors == {"real": 0.0, "loud": 0.0}
    assert same.accuracy == same.accuracy_fp32
    other = power_graph(scale=50.0)
    found = Judge(model, windows, {})(other)
    assert found.errors["real"] > 0.01


def test_a_graph_that_gives_no_numbers_where_fp32_does_is_infinitely_far_off() -> None:
    from rep_edge.calibration.fp16 import rounded_to_fp16

    model, windows = power_graph(), LabelledWindows(loud(3.0), np.array([0, 1, 2, 0, 1]))
    found = Judge(model, windows, {"loud": loud()})(rounded_to_fp16(model, set()))
    assert found.errors["loud"] == float("inf")
    assert not found.within(1.0, 1.0)
