"""Splits: no recording on two sides, every class on each, the configured shares, clear errors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rep_edge.config import SplitConfig
from rep_edge.data.splits import Subset, split
from rep_edge.data.windows import Window
from rep_edge.errors import InputError
from rep_edge.signals import Stream, WindowSpec

SPEC = WindowSpec(modalities=(Stream(name="acoustic", rate_hz=10, samples=20),), hop_s=1.0)


class Layout:
    """A dataset of which only the labels and recordings matter; a window's first sample is its index."""

    name = "layout"
    spec = SPEC

    def __init__(self, windows: Sequence[tuple[str, int]], labels: Sequence[str]) -> None:
        self.recordings = tuple(r for r, _ in windows)
        self.targets = np.array([t for _, t in windows], dtype=np.int64)
        self.labels = tuple(labels)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Window:
        values = {"acoustic": np.full((1, 20), index, dtype=np.float32)}
        return Window(values, int(self.targets[index]), self.recordings[index], 0.0)


class Published(Layout):
    def __init__(self, sides: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None) -> None:
        super().__init__([(f"r{i}", i % 2) for i in range(12)], ["a", "b"])
        self.sides = sides

    def published_split(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
        return self.sides


def single(counts: Sequence[int], windows: int = 2) -> Layout:
    """counts[c] recordings of class c, `windows` windows each."""
    rows = [(f"{c}-{r}", c) for c, n in enumerate(counts) for r in range(n) for _ in range(windows)]
    return Layout(rows, [f"class{c}" for c in range(len(counts))])


def check(dataset: Layout, config: SplitConfig) -> None:
    sides = split(dataset, config)
    held = [set(side.recordings) for side in sides]
    assert all(a.isdisjoint(b) for a, b in combinations(held, 2))
    assert sorted(i for side in sides if isinstance(side, Subset) for i in side.indices) == list(range(len(dataset)))
    for side in sides:
        assert set(side.targets) == set(range(len(dataset.labels)))


@given(st.lists(st.integers(3, 30), min_size=1, max_size=8), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_single_labels_always_split(counts: list[int], seed: int) -> None:
    check(single(counts), SplitConfig(seed=seed))


@given(
    st.lists(st.sets(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=25),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_any_layout_splits_or_says_why(carried: list[set[int]], seed: int, random: object) -> None:
    rows = [(f"r{i}", label) for i, labels in enumerate(carried) for label in sorted(labels) for _ in range(2)]
    np.random.default_rng(seed).shuffle(rows)
    dataset = Layout([(str(r), int(t)) for r, t in rows], ["a", "b", "c", "d"])
    reason = None
    try:
        check(dataset, SplitConfig(seed=seed))
    except InputError as error:
        reason = str(error)
    assert reason is None or ("class " in reason and "\n" not in reason)


def test_shares_are_those_configured() -> None:
    sides = split(single([60, 20]), SplitConfig(validation=0.15, test=0.25))
    per_class = [np.bincount(side.targets) // 2 for side in sides]
    assert [list(p) for p in per_class] == [[36, 12], [9, 3], [15, 5]]


def test_recordings_of_several_classes_stay_whole_and_near_the_shares() -> None:
    rows = [(f"r{i}", c) for i in range(40) for c in (i % 3, (i + 1) % 3)]
    dataset = Layout(rows, ["a", "b", "c"])
    check(dataset, SplitConfig())
    shares = [len(set(side.recordings)) / 40 for side in split(dataset, SplitConfig())]
    assert shares == pytest.approx([0.6, 0.15, 0.25], abs=0.08)


def test_seed_decides() -> None:
    dataset = single([20, 20])
    first, again, other = (split(dataset, SplitConfig(seed=s)).test.recordings for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Layout([("r0", 0), ("r1", 0), ("r2", 0)], ["a", "empty"]), "class empty: has no windows"),
        (single([5, 1]), "class class1: has 1 recording and needs at least 3"),
        (single([5, 2]), "class class1: has 2 recordings and needs at least 3"),
    ],
)
def test_poor_classes_are_named(dataset: Layout, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(dataset, SplitConfig())


def test_an_impossible_layout_says_so() -> None:
    # a and b share two of their three recordings; the third of b is the only place left for a's third side,
    # and it has no a.
    rows = [("x", 0), ("y", 0), ("z", 0), ("x", 1), ("y", 1), ("w", 1), ("z", 2), ("w", 2), ("x", 2)]
    with pytest.raises(InputError, match="also carry other classes"):
        split(Layout(rows, ["a", "b", "c"]), SplitConfig())


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.2), (0.2, 0.0), (0.5, 0.5), (-0.1, 0.2)])
def test_shares_must_leave_every_side_something(validation: float, test: float) -> None:
    with pytest.raises(InputError, match="split: "):
        split(single([9]), SplitConfig(validation=validation, test=test))


def test_published_split_goes_first() -> None:
    sides = (np.arange(8), np.arange(8, 10), np.arange(10, 12))
    assert split(Published(sides), SplitConfig()).test.recordings == ("r10", "r11")
    assert len(split(Published(None), SplitConfig()).train) == 6


def test_subset_keeps_order_and_refuses_what_is_not_there() -> None:
    subset = Subset(single([3, 3], windows=1), [4, 0])
    assert [w.values["acoustic"][0, 0] for w in (subset[0], subset[1])] == [4, 0]
    assert list(subset.targets) == [1, 0]
    assert subset.recordings == ("1-1", "0-0")
    with pytest.raises(IndexError):
        Subset(single([3]), [6])
