"""Scores and missing-rate tables, against plain numpy and scikit-learn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from torch import Tensor, nn

from rep_edge.data.batches import WindowBatches
from rep_edge.data.missing import draw_patterns
from rep_edge.data.windows import Window
from rep_edge.evaluation import (
    RATES,
    TURNS,
    Row,
    compose,
    evaluate,
    headline,
    mixed_headline,
    pattern_answers,
    recording_interval,
    score,
    settings,
    turns,
)
from rep_edge.model import ModelOutput, RepModel
from rep_edge.plots import draw_curves
from rep_edge.report import mean_score, print_report
from rep_edge.signals import Pattern, Stream, WindowSpec
from rep_edge.tasks import TASKS


def spec_of(names: str) -> WindowSpec:
    return WindowSpec(hop_s=1.0, modalities=tuple(Stream(name=n, rate_hz=4.0, samples=8) for n in names))


class Toy:
    """A dataset whose windows say in each modality what their class is, with noise."""

    def __init__(self, names: str, n: int = 60, classes: int = 3) -> None:
        rng = np.random.default_rng(0)
        self.spec, self.name, self.report = spec_of(names), "toy", ()
        self.labels = tuple(f"class {c}" for c in range(classes))
        self.targets = rng.integers(0, classes, n)
        self.recordings = tuple(f"run {i // 5}" for i in range(n))
        noise = rng.normal(size=(n, len(names), 1, 8)).astype(np.float32)
        self.values = noise + self.targets[:, None, None, None].astype(np.float32)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Window:
        values = {name: self.values[index, k] for k, name in enumerate(self.spec.names)}
        return Window(values, int(self.targets[index]), self.recordings[index], 0.0)


class Guess(nn.Module):
    """Logits by the distance of the live modalities' mean to each class; looks at the live keys alone."""

    def __init__(self, spec: WindowSpec, classes: int = 3) -> None:
        super().__init__()
        self.spec, self.task, self.metric = spec, TASKS["multiclass"], "accuracy"
        self.centres = nn.Parameter(torch.arange(float(classes)))

    def forward(self, windows: dict[str, Tensor], pattern: Pattern) -> ModelOutput:
        assert set(windows) == pattern
        mean = torch.stack([windows[name].mean(dim=(1, 2)) for name in sorted(pattern)]).mean(dim=0)
        return ModelOutput(-((mean[:, None] - self.centres) ** 2), mean.new_zeros(()))


def guess(spec: WindowSpec) -> RepModel:
    return cast("RepModel", Guess(spec))


def random_probabilities(rng: np.random.Generator, n: int, classes: int) -> NDArray[np.float32]:
    return rng.dirichlet(np.ones(classes), n).astype(np.float32)


def plain_ece(p: NDArray[np.float32], y: NDArray[np.int64], bins: int = 15) -> float:
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[which == b].mean() - confidence[which == b].mean()) * (which == b).mean() for b in set(which)]
    return float(sum(gaps))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_equal_plain_numpy_and_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = random_probabilities(rng, 200, 4), rng.integers(0, 4, 200)
    found = score(TASKS["multiclass"], "accuracy", [p], y, [str(i) for i in range(200)]).by_metric
    assert found["accuracy"] == pytest.approx(accuracy_score(y, p.argmax(axis=1)))
    assert found["macro_f1"] == pytest.approx(f1_score(y, p.argmax(axis=1), average="macro"))
    assert found["ece"] == pytest.approx(plain_ece(p, y), abs=1e-5)


def test_several_tables_give_the_mean_of_their_scores() -> None:
    rng = np.random.default_rng(0)
    tables, y = [random_probabilities(rng, 90, 3) for _ in range(4)], rng.integers(0, 3, 90)
    recordings = [str(i // 3) for i in range(90)]
    alone = [score(TASKS["multiclass"], "accuracy", [table], y, recordings).by_metric for table in tables]
    together = score(TASKS["multiclass"], "accuracy", tables, y, recordings).by_metric
    for metric in ("accuracy", "macro_f1", "ece"):
        assert together[metric] == pytest.approx(np.mean([scores[metric] for scores in alone]))


def test_the_interval_is_over_recordings_not_windows() -> None:
    right = np.repeat(np.array([0.0, 1.0] * 10), 50)
    by_recording = recording_interval(right, [str(i // 50) for i in range(1000)])
    by_window = recording_interval(right, [str(i) for i in range(1000)])
    assert by_recording[0] < by_window[0] < 0.5 < by_window[1] < by_recording[1]
    # 20 recordings of one accuracy each: the binomial interval is 0.5 +- 1.96 * 0.5 / sqrt(20).
    np.testing.assert_allclose(by_recording, (0.5 - 0.219, 0.5 + 0.219), atol=0.06)


def test_no_doubt_where_every_recording_agrees() -> None:
    assert recording_interval(np.ones(12), ["a"] * 4 + ["b"] * 8) == (1.0, 1.0)


def test_settings_are_each_modality_and_all_of_them() -> None:
    assert settings(spec_of("a")) == {}
    assert settings(spec_of("ab")) == {"a missing": ("a",), "b missing": ("b",), "both missing": ("a", "b")}
    assert list(settings(spec_of("abc"))) == ["a missing", "b missing", "c missing", "any missing"]


@given(n=st.integers(1, 40), rate=st.sampled_from(RATES), seed=st.integers(0, 2**32), both=st.booleans())
def test_a_table_takes_each_window_from_the_pattern_it_was_given(n: int, rate: float, seed: int, both: bool) -> None:
    spec = spec_of("ab")
    marked = {p: np.full((n, 2), k, np.float32) for k, p in enumerate(spec.patterns())}
    table = draw_patterns(spec, n, ("a", "b") if both else ("a",), rate, seed)
    found = compose(marked, table)[:, 0]
    complete, without_b, without_a = ((found == k).sum() for k in range(3))
    assert complete == n - round(rate * n)
    assert abs(without_a - without_b) <= 1 if both else without_b == 0


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_every_window_takes_its_turn_at_every_pattern(names: str) -> None:
    spec, n = spec_of(names), 60
    incomplete = [pattern for pattern in spec.patterns() if pattern != spec.complete]
    tables = turns(spec, n, incomplete, 0.6)
    assert len(tables) == TURNS
    for table in tables:
        assert [table.count(pattern) for pattern in incomplete] == [round(0.6 * n / len(incomplete))] * len(incomplete)
    for window in zip(*tables, strict=True):
        for pattern in incomplete:
            assert window.count(pattern) == pytest.approx(0.6 * TURNS / len(incomplete), abs=1)


def test_the_mixed_accuracy_is_as_if_every_window_had_every_pattern() -> None:
    windows, spec = WindowBatches(Toy("ab")), spec_of("ab")
    incomplete = [frozenset("a"), frozenset("b")]
    model = guess(spec)
    complete, *others = (headline(model, windows, pattern) for pattern in (spec.complete, *incomplete))
    assert mixed_headline(model, windows, incomplete, 0.7) == pytest.approx(0.3 * complete + 0.35 * sum(others))
    assert mixed_headline(model, windows, incomplete, 0.0) == pytest.approx(complete)
    assert mixed_headline(model, windows, [], 0.7) == pytest.approx(complete)


def test_the_mixed_auroc_hears_how_patterns_rank_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pattern orders its own windows without a mistake, and one of them is always surer than the other."""
    windows, spec = WindowBatches(Toy("ab", n=60, classes=2)), spec_of("ab")
    model = guess(spec)
    monkeypatch.setattr(model, "metric", "auroc")
    sure = windows.targets.numpy() * 0.2 + 0.1

    def said(model: RepModel, windows: WindowBatches, pattern: Pattern) -> NDArray[np.float64]:
        second = sure + 0.5 * (pattern != spec.complete)
        return np.stack([1 - second, second], axis=1)

    monkeypatch.setattr("rep_edge.evaluation.answers", said)
    assert headline(model, windows, spec.complete) == headline(model, windows, frozenset("a")) == 1.0
    found = mixed_headline(model, windows, [frozenset("a")], 0.5)
    expected = roc_auc_score(np.tile(windows.targets, 2), np.concatenate([sure, sure + 0.5]))
    assert found == pytest.approx(expected, abs=0.03)
    assert found < 0.8


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_rows_cover_every_pattern_and_every_rate(names: str) -> None:
    data = Toy(names)
    rows = evaluate("toy", 7, guess(data.spec), WindowBatches(data))
    patterns = [row for row in rows if row.missing_rate is None]
    assert [row.setting for row in patterns] == [data.spec.pattern_name(p) for p in data.spec.patterns()]
    swept = [(row.setting, row.missing_rate) for row in rows if row.missing_rate is not None]
    assert swept == [(setting, rate) for setting in settings(data.spec) for rate in RATES]
    assert {(row.method, row.seed) for row in rows} == {("toy", 7)}
    assert all(row.low <= row.headline <= row.high for row in rows)


def test_the_ends_of_a_sweep_are_the_patterns_themselves() -> None:
    data = Toy("ab")
    rows = {(r.setting, r.missing_rate): r for r in evaluate("toy", 0, guess(data.spec), WindowBatches(data))}
    assert rows["a missing", 0.0].headline == rows["a+b", None].headline
    assert rows["a missing", 1.0].headline == rows["b", None].headline
    half = (rows["a", None].headline + rows["b", None].headline) / 2
    assert rows["both missing", 1.0].headline == pytest.approx(half, abs=0.06)


def test_probabilities_come_in_dataset_order_and_leave_the_mode_alone() -> None:
    data = Toy("ab", n=300)  # more than one batch
    model = guess(data.spec).train()
    found = pattern_answers(model, WindowBatches(data))
    assert model.training
    mean = data.values[:, 1].mean(axis=(1, 2))
    logits = -((mean[:, None] - np.arange(3)) ** 2)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[frozenset("b")], expected, rtol=1e-4)


def rows_of(accuracies: list[float]) -> list[Row]:
    return [
        Row(
            method="m",
            setting=s,
            missing_rate=r,
            seed=k,
            metric="accuracy",
            scores={"accuracy": a, "macro_f1": a, "ece": 0.1},
            low=a - 0.1,
            high=a + 0.1,
        )
        for s, r in (("a+b", None), ("a missing", 0.5), ("b missing", 0.5), ("both missing", 0.5))
        for k, a in enumerate(accuracies)
    ]


def test_the_interval_of_one_seed_is_over_recordings_and_of_several_over_seeds() -> None:
    one = mean_score(rows_of([0.8]), "m", "a missing", 0.5)
    assert one == pytest.approx((0.8, 0.0, 0.7, 0.9))
    several = mean_score(rows_of([0.7, 0.8, 0.9]), "m", "a missing", 0.5)
    assert several.mean == pytest.approx(0.8)
    assert several.sd == pytest.approx(0.1)
    assert several.high - several.mean == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-3)


def test_the_report_says_what_its_figures_stand_on() -> None:
    def printed(rows: list[Row]) -> str:
        out = io.StringIO()
        print_report(rows, Console(file=out, width=100))
        return out.getvalue()

    assert "up to 10.0 points" in printed(rows_of([0.8]))
    assert "80.0 ± 14.1" in printed(rows_of([0.7, 0.9]))
    assert "standard deviation over the seeds" in printed(rows_of([0.7, 0.9]))


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    draw_curves(rows_of([0.7, 0.8]), tmp_path / "evaluation.png")
    assert (tmp_path / "evaluation.png").read_bytes().startswith(b"\x89PNG")
