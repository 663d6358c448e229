"""Training, validation and test windows, split so that no recording stands on two sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rep_edge.config import Config, SplitConfig
from rep_edge.data.opening import NO_TOKENIZERS, open_dataset
from rep_edge.data.windows import Targets, Window, WindowDataset
from rep_edge.errors import InputError
from rep_edge.signals import WindowSpec
from rep_edge.tasks import TASKS

SIDES = ("train", "validation", "test")
ATTEMPTS = 200
"""Orders tried where recordings carry several classes; with one class each the first one always fits."""

Indices = NDArray[np.int64]


class Subset:
    """Some windows of a dataset, in the given order; a WindowDataset.

    indices: int [n], into `dataset`. Raises IndexError where one is out of range.
    """

    def __init__(self, dataset: WindowDataset, indices: Sequence[int] | Indices) -> None:
        self.dataset = dataset
        self.indices: Indices = np.asarray(indices, dtype=np.int64)
        if self.indices.size and (self.indices.min() < 0 or self.indices.max() >= len(dataset)):
            raise IndexError(f"indices must lie in 0..{len(dataset) - 1}")
        self._targets: Targets = dataset.targets[self.indices]
        self._recordings = tuple(dataset.recordings[i] for i in self.indices)

    @property
    def spec(self) -> WindowSpec:
        return self.dataset.spec

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def labels(self) -> tuple[str, ...]:
        return self.dataset.labels

    @property
    def targets(self) -> Targets:
        return self._targets

    @property
    def recordings(self) -> tuple[str, ...]:
        return self._recordings

    @property
    def report(self) -> tuple[str, ...]:
        return self.dataset.report

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Window:
        return self.dataset[int(self.indices[index])]


class Splits(NamedTuple):
    """The three sides of a dataset."""

    train: WindowDataset
    validation: WindowDataset
    test: WindowDataset


@runtime_checkable
class PublishedSplit(Protocol):
    """A dataset that may bring its own split: index arrays of training, validation and test, or None."""

    def published_split(self) -> tuple[Indices, Indices, Indices] | None: ...


def open_splits(config: Config, tokenizers: Mapping[str, str] = NO_TOKENIZERS) -> Splits:
    """The dataset of `config`, split. tokenizers: of the texts, as the model has them.

    Raises InputError where the dataset cannot be opened or split, and where its targets are of another task.
    """
    dataset = open_dataset(config.data, config.signals, tokenizers)
    TASKS[config.task].check(dataset.targets, dataset.name)
    return split(dataset, config.split)


def split(dataset: WindowDataset, config: SplitConfig) -> Splits:
    """Whole recordings to each side, by class in the configured shares; a published split, where there is one, goes
    first.

    The same seed and dataset give the same split. Raises InputError for an empty class, a class with too few recordings
    for one on each side, and shares that leave a side nothing.
    """
    if isinstance(dataset, PublishedSplit):
        published = dataset.published_split()
        if published is not None:
            return Splits(*(Subset(dataset, indices) for indices in published))
    names = list(dict.fromkeys(dataset.recordings))
    row = {name: i for i, name in enumerate(names)}
    of_window = np.array([row[name] for name in dataset.recordings], dtype=np.int64)
    carries = np.zeros((len(names), len(dataset.labels)), dtype=bool)
    carries[of_window, dataset.targets] = True
    side = assign(carries, dataset.labels, config)[of_window]
    return Splits(*(Subset(dataset, np.flatnonzero(side == k)) for k in range(len(SIDES))))


def assign(carries: NDArray[np.bool_], labels: Sequence[str], config: SplitConfig) -> Indices:
    """Side (0 train, 1 validation, 2 test) of each recording, int64 [recordings].

    carries: [recordings, classes], which classes a recording holds. Each class is on every side. Raises InputError as
    `split`.
    """
    if not (config.validation > 0 and config.test > 0 and config.validation + config.test < 1):
        raise InputError(
            f"split: validation {config.validation} and test {config.test} must be above 0 and leave something to "
            "train on; correct the shares"
        )
    counts = carries.sum(axis=0)
    for label, count in zip(labels, counts, strict=True):
        if count == 0:
            raise InputError(f"class {label}: has no windows; add recordings of it or remove the class")
        if count < len(SIDES):
            raise InputError(
                f"class {label}: has {count} recording{'s' if count > 1 else ''} and needs at least {len(SIDES)}, one "
                "each for training, validation and test; add or divide recordings"
            )
    goals = np.array([_goal(int(count), config) for count in counts])
    for attempt in range(ATTEMPTS):
        sides = _share_out(carries, goals, np.random.default_rng((config.seed, attempt)))
        present = np.stack([carries[sides == k].any(axis=0) for k in range(len(SIDES))])
        if present.all():
            return sides
    lacking = labels[int(np.flatnonzero(~present.all(axis=0))[0])]
    raise InputError(
        f"class {lacking}: its recordings also carry other classes, and no split was found that has every class on "
        "each side; add recordings of it or divide the long ones"
    )


def _goal(count: int, config: SplitConfig) -> tuple[int, int, int]:
    """Recordings of a class for each side: the shares, rounded, and at least one each."""
    validation, test = max(1, round(config.validation * count)), max(1, round(config.test * count))
    while validation + test >= count:
        if test >= validation:
            test -= 1
        else:
            validation -= 1
    return count - validation - test, validation, test


def _share_out(carries: NDArray[np.bool_], goals: Indices, rng: np.random.Generator) -> Indices:
    """One greedy assignment: the rarest class first, each of its recordings to the side that lacks most of its goal."""
    sides = np.full(len(carries), -1, dtype=np.int64)
    missing = goals.astype(np.float64)
    for label in np.argsort(carries.sum(axis=0), kind="stable"):
        for recording in rng.permutation(np.flatnonzero(carries[:, label] & (sides < 0))):
            held = carries[recording]
            # What a side lacks of this class decides; what it lacks of the recording's other classes breaks ties.
            lack = missing[label] / goals[label] + 0.1 * (missing[held] / goals[held]).mean(axis=0)
            sides[recording] = int(np.argmax(lack))
            missing[held, sides[recording]] -= 1
    return sides
