"""What a model is asked: one of several labels, any of them, or a value; each with its loss, answers and metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
    multilabel_f1_score,
)

from rep_edge import sentiment_metrics as sentiment
from rep_edge.errors import InputError

BINS = 15
"""Of the expected calibration error."""
THRESHOLD = 0.5
"""Probability from which a label counts as given (MM-IMDb's protocol)."""

Answers = NDArray[np.float32]
"""What a model says of n windows: probabilities [n, labels], or values [n, 1]."""


class Task(ABC):
    """One kind of question.

    name: as configurations have it. metrics: names of the scores, the usual headline first; for each of them more is
    better, errors apart, which no headline can be.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    errors: ClassVar[tuple[str, ...]] = ()

    def outputs(self, labels: Sequence[str]) -> int:
        """Width of the model's output."""
        return len(labels)

    def headline(self, metric: str | None) -> str:
        """The metric that a configuration chooses. Raises InputError for one that this task does not have."""
        chosen = metric or self.metrics[0]
        able = [name for name in self.metrics if name not in self.errors]
        if chosen not in able:
            raise InputError(f"metric: {chosen} is none of a {self.name} task; choose one of {', '.join(able)}")
        return chosen

    def check(self, targets: NDArray[Any], dataset: str) -> None:
        """Raises InputError where a dataset's targets are of another task."""
        found = next(task.name for task in TASKS.values() if task.fits(targets))
        if found != self.name:
            raise InputError(f"task: {self.name}, but {dataset} is {found}; set  task: {found}")

    @abstractmethod
    def fits(self, targets: NDArray[Any]) -> bool:
        """Whether targets have this task's form."""

    @abstractmethod
    def count(self, targets: NDArray[Any], labels: Sequence[str]) -> dict[str, int]:
        """Windows of each label."""

    @abstractmethod
    def loss(self, output: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """Output [B, outputs] against targets, a scalar."""

    @abstractmethod
    def answers(self, output: Tensor) -> Tensor:
        """Output [B, outputs] as probabilities or values, of the same shape."""

    @abstractmethod
    def distance(self, output: Tensor, taught: Tensor) -> Tensor:
        """How far an output is from a teacher's answers, a scalar."""

    @abstractmethod
    def scores(self, answers: Answers, targets: NDArray[Any]) -> dict[str, float]:
        """Every metric by its name."""


class Multiclass(Task):
    """One of the labels. Targets: int64 [n]. auroc: of the second of two labels."""

    name = "multiclass"
    metrics = ("accuracy", "macro_f1", "auroc", "ece")
    errors = ("ece",)

    def fits(self, targets: NDArray[Any]) -> bool:
        return targets.ndim == 1 and targets.dtype.kind in "iu"

    def count(self, targets: NDArray[Any], labels: Sequence[str]) -> dict[str, int]:
        return dict(zip(labels, np.bincount(targets, minlength=len(labels)).tolist(), strict=True))

    def loss(self, output: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        return functional.cross_entropy(output, targets, label_smoothing=smoothing)

    def answers(self, output: Tensor) -> Tensor:
        return output.softmax(dim=-1)

    def distance(self, output: Tensor, taught: Tensor) -> Tensor:
        return functional.kl_div(output.log_softmax(dim=-1), taught, reduction="batchmean")

    def scores(self, answers: Answers, targets: NDArray[Any]) -> dict[str, float]:
        p, y = torch.from_numpy(answers), torch.from_numpy(targets)
        classes = p.shape[1]
        found = {
            "accuracy": float(multiclass_accuracy(p, y, classes, average="micro")),
            "macro_f1": float(multiclass_f1_score(p, y, classes, average="macro")),
            "ece": float(multiclass_calibration_error(p, y, classes, n_bins=BINS)),
        }
        if classes == 2:
            found["auroc"] = float(binary_auroc(p[:, 1], y))
        return found


class Multilabel(Task):
    """Any of the labels. Targets: float32 [n, labels] of 0 and 1."""

    name = "multilabel"
    metrics = ("macro_f1", "micro_f1", "weighted_f1")

    def fits(self, targets: NDArray[Any]) -> bool:
        return targets.ndim == 2

    def count(self, targets: NDArray[Any], labels: Sequence[str]) -> dict[str, int]:
        return dict(zip(labels, targets.astype(int).sum(axis=0).tolist(), strict=True))

    def loss(self, output: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        return functional.binary_cross_entropy_with_logits(output, targets * (1 - smoothing) + smoothing / 2)

    def answers(self, output: Tensor) -> Tensor:
        return output.sigmoid()

    def distance(self, output: Tensor, taught: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(output, taught)

    def scores(self, answers: Answers, targets: NDArray[Any]) -> dict[str, float]:
        p, y = torch.from_numpy(answers), torch.from_numpy(targets).long()
        return {
            f"{average}_f1": float(multilabel_f1_score(p, y, p.shape[1], threshold=THRESHOLD, average=average))
            for average in ("macro", "micro", "weighted")
        }


class Regression(Task):
    """A value, such as a sentiment. Targets: float32 [n]. Its two labels name the sides of zero."""

    name = "regression"
    metrics = (
        *("acc2_nonneg", "f1_nonneg", "acc2_nonzero", "f1_nonzero", "acc2_positive", "f1_positive"),
        *("acc7", "acc5", "pearson", "mae"),
    )
    errors = ("mae",)

    def outputs(self, labels: Sequence[str]) -> int:
        return 1

    def fits(self, targets: NDArray[Any]) -> bool:
        return targets.ndim == 1 and targets.dtype.kind == "f"

    def count(self, targets: NDArray[Any], labels: Sequence[str]) -> dict[str, int]:
        negative, positive = labels
        signs = np.sign(targets).tolist()
        return {negative: signs.count(-1), "neutral": signs.count(0), positive: signs.count(1)}

    def loss(self, output: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        return functional.l1_loss(output[:, 0], targets)

    def answers(self, output: Tensor) -> Tensor:
        return output

    def distance(self, output: Tensor, taught: Tensor) -> Tensor:
        return functional.l1_loss(output, taught)

    def scores(self, answers: Answers, targets: NDArray[Any]) -> dict[str, float]:
        return {name: getattr(sentiment, name)(answers[:, 0], targets) for name in self.metrics}


TASKS: Mapping[str, Task] = {task.name: task for task in (Multiclass(), Multilabel(), Regression())}
