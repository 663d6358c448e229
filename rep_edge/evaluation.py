"""Scores of models per pattern and over missing rates, all on the same windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
)

from rep_edge.data.batches import WindowBatches
from rep_edge.data.missing import draw_patterns
from rep_edge.model import RepModel
from rep_edge.seeds import derive_seed
from rep_edge.signals import Pattern, WindowSpec

RATES = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Missing rates of the paper's tables and figure 4."""
BINS = 15
RESAMPLES = 400
DRAWS = 10
"""Missing tables behind a row."""
BATCH = 256
COMBINED = ("both missing", "any missing")
"""Names of the setting in which each modality goes missing, one at a time, in an equal share of the windows."""

Probabilities: TypeAlias = NDArray[np.float32]
Targets: TypeAlias = NDArray[np.int64]


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """One model's scores on some windows.

    accuracy, macro_f1: 0 to 1; ece: expected calibration error over 15 bins; low, high: 95 % interval of the accuracy,
    from drawing whole recordings anew, because windows of one recording are not independent.
    """

    accuracy: float
    macro_f1: float
    ece: float
    low: float
    high: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of evaluation.json.

    method: what was evaluated; setting: which modality is missing ("both": each in half of the incomplete windows) or,
    with missing_rate None, the pattern all windows have; seed: of the checkpoint's training.
    """

    method: str
    setting: str
    missing_rate: float | None
    seed: int
    accuracy: float
    macro_f1: float
    ece: float
    low: float
    high: float


def probabilities(model: RepModel, windows: WindowBatches, pattern: Pattern) -> Probabilities:
    """Float32 [n, classes] of every window, with the pattern's modalities alone."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    batches = []
    with torch.inference_mode():
        for values, _ in windows.in_order(BATCH):
            live = {name: values[name].to(device) for name in pattern}
            batches.append(model(live, pattern).logits.softmax(dim=-1).float().cpu().numpy())
    model.train(training)
    return np.concatenate(batches)


def pattern_probabilities(model: RepModel, windows: WindowBatches) -> dict[Pattern, Probabilities]:
    """`probabilities` for every pattern: all that any missing-rate table is put together from."""
    return {pattern: probabilities(model, windows, pattern) for pattern in model.spec.patterns()}


def settings(spec: WindowSpec) -> dict[str, tuple[str, ...]]:
    """Name of each missing-modality setting and the modalities that go missing in it."""
    single = {f"{name} missing": (name,) for name in spec.names}
    together = COMBINED[0] if len(spec.names) == 2 else COMBINED[1]
    return {} if len(spec.names) == 1 else {**single, together: spec.names}


def score(tables: Sequence[Probabilities], targets: Targets, recordings: Sequence[str]) -> Scores:
    """Mean scores of tables of probabilities [n, classes] against targets [n]; recordings: that of each window."""
    y = torch.from_numpy(targets)
    classes = tables[0].shape[1]
    accuracy, macro_f1, ece = [], [], []
    for p in map(torch.from_numpy, tables):
        accuracy.append(float(multiclass_accuracy(p, y, classes, average="micro")))
        macro_f1.append(float(multiclass_f1_score(p, y, classes, average="macro")))
        ece.append(float(multiclass_calibration_error(p, y, classes, n_bins=BINS)))
    right = np.mean([table.argmax(axis=1) == targets for table in tables], axis=0)
    low, high = recording_interval(right, recordings)
    return Scores(
        accuracy=float(np.mean(accuracy)),
        macro_f1=float(np.mean(macro_f1)),
        ece=float(np.mean(ece)),
        low=low,
        high=high,
    )


def recording_interval(right: NDArray[np.float64], recordings: Sequence[str]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `right` [n], 0 to 1, over recordings drawn with replacement."""
    _, number = np.unique(np.asarray(recordings), return_inverse=True)
    hits, sizes = np.bincount(number, weights=right), np.bincount(number)
    drawn = np.random.default_rng(0).integers(0, len(sizes), (RESAMPLES, len(sizes)))
    means = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def compose(
    spec: WindowSpec, by_pattern: Mapping[Pattern, Probabilities], missing: Sequence[str], rate: float, seed: int
) -> Probabilities:
    """Each window's probabilities under the pattern that the missing table of this seed gives it."""
    n = len(by_pattern[spec.complete])
    patterns = draw_patterns(spec, n, missing, rate, derive_seed(seed, "missing table"))
    return np.stack([by_pattern[pattern][i] for i, pattern in enumerate(patterns)])


def evaluate(method: str, seed: int, model: RepModel, windows: WindowBatches, draws: int = DRAWS) -> list[Row]:
    """All rows of one model: every pattern, then every setting over the missing rates.

    seed: of the model's training, for the rows. Which windows lose what is drawn `draws` times, alike for every model,
    and the scores are the mean over the draws.
    """
    by_pattern = pattern_probabilities(model, windows)
    targets, recordings = windows.targets.numpy(), windows.dataset.recordings

    def row(setting: str, rate: float | None, tables: Sequence[Probabilities]) -> Row:
        scores = msgspec.structs.asdict(score(tables, targets, recordings))
        return Row(method=method, setting=setting, missing_rate=rate, seed=seed, **scores)

    rows = [row(model.spec.pattern_name(pattern), None, [found]) for pattern, found in by_pattern.items()]
    for setting, missing in settings(model.spec).items():
        for rate in RATES:
            # Where every draw gives the same table, one is enough.
            same = rate == 0 or (rate == 1 and len(missing) == 1)
            seeds = range(1 if same else draws)
            rows.append(row(setting, rate, [compose(model.spec, by_pattern, missing, rate, k) for k in seeds]))
    return rows
