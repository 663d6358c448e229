"""Scores of models per pattern and over missing rates, all on the same windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from rep_edge.data.batches import WindowBatches
from rep_edge.data.missing import draw_patterns, share_out
from rep_edge.model import RepModel
from rep_edge.seeds import derive_seed
from rep_edge.signals import Pattern, WindowSpec
from rep_edge.tasks import Answers, Task

RATES = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Missing rates of the paper's tables and figure 4."""
RESAMPLES = 400
"""Draws of recordings behind an interval; half as many where a metric has to be computed anew for each."""
DRAWS = 10
"""Missing tables behind a row."""
TURNS = 20
"""Missing tables behind an epoch's score."""
BATCH = 256
COMBINED = ("both missing", "any missing")
"""Names of the setting in which each modality goes missing, one at a time, in an equal share of the windows."""

Targets = NDArray[Any]
Tables: TypeAlias = list[list[Pattern]]
"""Missing tables: a pattern for every window."""
TableMaker: TypeAlias = Callable[[WindowSpec, int, Sequence[str], float], Tables]
"""(spec, number of windows, modalities that go missing, rate) -> tables."""


class Scores(NamedTuple):
    """One model's scores on some windows.

    by_metric: every metric of the task; low, high: 95 % interval of the headline, from drawing whole recordings anew,
    because windows of one recording are not independent.
    """

    by_metric: dict[str, float]
    low: float
    high: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of evaluation.json.

    method: what was evaluated; setting: which modality is missing ("both": each in half of the incomplete windows) or,
    with missing_rate None, the pattern all windows have; seed: of the checkpoint's training. metric: the headline;
    scores: every metric of the task; low, high: the headline's 95 % interval.
    """

    method: str
    setting: str
    missing_rate: float | None
    seed: int
    metric: str
    scores: dict[str, float]
    low: float
    high: float

    @property
    def headline(self) -> float:
        """The score by which the model is judged."""
        return self.scores[self.metric]


def answers(model: RepModel, windows: WindowBatches, pattern: Pattern) -> Answers:
    """What the model says of every window, float32 [n, outputs], with the pattern's modalities alone."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    batches = []
    with torch.inference_mode():
        for values, _ in windows.in_order(BATCH):
            live = {name: values[name].to(device) for name in pattern}
            batches.append(model.task.answers(model(live, pattern).logits).float().cpu().numpy())
    model.train(training)
    return np.concatenate(batches)


def pattern_answers(model: RepModel, windows: WindowBatches) -> dict[Pattern, Answers]:
    """`answers` for every pattern: all that any missing-rate table is put together from."""
    return {pattern: answers(model, windows, pattern) for pattern in model.spec.patterns()}


def headline(model: RepModel, windows: WindowBatches, pattern: Pattern) -> float:
    """The score by which the model is judged, with the pattern's modalities alone."""
    return model.task.scores(answers(model, windows, pattern), windows.targets.numpy())[model.metric]


def mixed_headline(model: RepModel, windows: WindowBatches, incomplete: Sequence[Pattern], rate: float) -> float:
    """The same while `rate` of the windows have one of the incomplete patterns, as the test tables mix them.

    Patterns are judged together: an AUROC also says how windows of different patterns rank. The mean over tables in
    which each window takes its turn at every pattern, so that a mean over windows, such as accuracy, comes out as if
    all had been tried.
    """
    by_pattern = {pattern: answers(model, windows, pattern) for pattern in (model.spec.complete, *incomplete)}
    targets = windows.targets.numpy()
    tables = turns(model.spec, len(targets), incomplete, rate)
    return float(np.mean([model.task.scores(compose(by_pattern, table), targets)[model.metric] for table in tables]))


def turns(spec: WindowSpec, n: int, incomplete: Sequence[Pattern], rate: float) -> Tables:
    """TURNS missing tables of n windows; each moves all windows on by one part in TURNS of the whole."""
    ranks = {pattern: rank for rank, pattern in enumerate((spec.complete, *incomplete))}
    shares = sorted(share_out(spec, n, incomplete, rate, 0), key=ranks.__getitem__)
    place = np.random.default_rng(0).permutation(n)
    return [[shares[k] for k in (place + turn * n // TURNS) % n] for turn in range(TURNS)]


def settings(spec: WindowSpec) -> dict[str, tuple[str, ...]]:
    """Name of each missing-modality setting and the modalities that go missing in it."""
    single = {f"{name} missing": (name,) for name in spec.names}
    together = COMBINED[0] if len(spec.names) == 2 else COMBINED[1]
    return {} if len(spec.names) == 1 else {**single, together: spec.names}


def score(task: Task, metric: str, tables: Sequence[Answers], targets: Targets, recordings: Sequence[str]) -> Scores:
    """Mean scores of tables of answers [n, outputs] against the targets of n windows; recordings: that of each one."""
    found = [task.scores(table, targets) for table in tables]
    by_metric = {name: float(np.mean([scores[name] for scores in found])) for name in found[0]}
    if metric == "accuracy":
        right = np.mean([table.argmax(axis=1) == targets for table in tables], axis=0)
        return Scores(by_metric, *recording_interval(right, recordings))
    below, above = _interval_around(task, metric, tables[0], targets, recordings)
    return Scores(by_metric, by_metric[metric] + below, by_metric[metric] + above)


def recording_interval(right: NDArray[np.float64], recordings: Sequence[str]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `right` [n], 0 to 1, over recordings drawn with replacement."""
    _, number = np.unique(np.asarray(recordings), return_inverse=True)
    hits, sizes = np.bincount(number, weights=right), np.bincount(number)
    drawn = np.random.default_rng(0).integers(0, len(sizes), (RESAMPLES, len(sizes)))
    means = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _interval_around(
    task: Task, metric: str, table: Answers, targets: Targets, recordings: Sequence[str]
) -> tuple[float, float]:
    """The same interval for a metric that is no mean over windows, less the metric itself."""
    _, number = np.unique(np.asarray(recordings), return_inverse=True)
    windows = [np.flatnonzero(number == k) for k in range(number.max() + 1)]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES // 2):
        rows = np.concatenate([windows[k] for k in rng.integers(0, len(windows), len(windows))])
        found.append(task.scores(table[rows], targets[rows])[metric])
    below, above = np.nanquantile(found, (0.025, 0.975)) - task.scores(table, targets)[metric]
    return float(below), float(above)


def compose(by_pattern: Mapping[Pattern, Answers], table: Sequence[Pattern]) -> Answers:
    """Each window's answers under the pattern that a missing table gives it."""
    return np.stack([by_pattern[pattern][i] for i, pattern in enumerate(table)])


def drawn_tables(spec: WindowSpec, n: int, missing: Sequence[str], rate: float, draws: int = DRAWS) -> Tables:
    """Which of n windows lose what, drawn `draws` times; once where every draw gives the same."""
    same = rate == 0 or (rate == 1 and len(missing) == 1)
    seeds = range(1 if same else draws)
    return [draw_patterns(spec, n, missing, rate, derive_seed(seed, "missing table")) for seed in seeds]


def evaluate(
    method: str, seed: int, model: RepModel, windows: WindowBatches, tables: TableMaker = drawn_tables
) -> list[Row]:
    """All rows of one model: every pattern, then every setting over the missing rates.

    seed: of the model's training, for the rows. tables: which windows lose what, alike for every model; the scores are
    the mean over the tables.
    """
    by_pattern = pattern_answers(model, windows)
    targets, recordings = windows.targets.numpy(), windows.dataset.recordings

    def row(setting: str, rate: float | None, said: Sequence[Answers]) -> Row:
        found = score(model.task, model.metric, said, targets, recordings)
        return Row(
            method=method,
            setting=setting,
            missing_rate=rate,
            seed=seed,
            metric=model.metric,
            scores=found.by_metric,
            low=found.low,
            high=found.high,
        )

    rows = [row(model.spec.pattern_name(pattern), None, [found]) for pattern, found in by_pattern.items()]
    for setting, missing in settings(model.spec).items():
        for rate in RATES:
            drawn = tables(model.spec, len(windows), missing, rate)
            rows.append(row(setting, rate, [compose(by_pattern, table) for table in drawn]))
    return rows
