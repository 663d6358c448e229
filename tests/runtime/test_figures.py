"""Figures of a window are what a plain reckoning gives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rep_edge.runtime.figures import clipped_share, figures, longest_run


def noise(samples: int = 800, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 3, 4, 15, 63, 64, 200, 801, 16000])
def test_as_a_plain_reckoning(samples: int) -> None:
    x = (5 * noise(samples, samples) + 18000).astype(np.float32)
    found = figures(x)
    assert found is not None
    exact = x.astype(np.float64)
    assert (found.lowest, found.highest) == (x.min(), x.max())
    assert found.mean == pytest.approx(exact.mean(), rel=1e-6)
    blocks = max(1, min(16, samples // 4))
    length = samples // blocks
    pieces = (exact - exact.mean())[: blocks * length].reshape(blocks, length)
    rms = sorted(piece.std() for piece in pieces)
    assert found.level == pytest.approx(np.sqrt((pieces**2).mean()), rel=0.01, abs=2e-3)
    assert found.floor == pytest.approx(rms[max(0, blocks // 4 - 1)], rel=0.01, abs=2e-3)


def test_what_passes_by_does_not_lift_the_floor() -> None:
    x = 0.01 * noise(16000)
    before = figures(x)
    x[4000:12000] += 3 * noise(8000, 1)
    during = figures(x)
    assert before is not None
    assert during is not None
    assert during.level > 100 * before.level
    assert during.floor == pytest.approx(before.floor, rel=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number(value: float) -> None:
    x = noise()
    x[400] = value
    assert figures(x) is None
    x[:2] = np.inf, -np.inf
    assert figures(x) is None


def test_samples_too_large_to_be_squared_have_figures_all_the_same() -> None:
    found = figures(np.array([3e38, 3e38, -3e38, 3e38] * 20, np.float32))
    assert found is not None
    assert found.highest == pytest.approx(3e38)


@given(st.lists(st.sampled_from([0.0, 1.0, -1.0]), min_size=1, max_size=40))
def test_the_longest_run(values: list[float]) -> None:
    longest = run = 1
    for before, after in pairwise(values):
        run = run + 1 if before == after else 1
        longest = max(longest, run)
    assert longest_run(np.array(values, np.float32)) == longest


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60))
def test_the_share_that_is_clipped(values: list[int]) -> None:
    counts = {value: values.count(value) for value in values}
    low, high = min(values), max(values)
    rails = max(counts[low], counts[high])
    inner = max([count for value, count in counts.items() if low < value < high], default=0)
    expected = rails / len(values) if rails > 2 * inner else 0.0
    assert clipped_share(np.array(values, np.float32), low, high) == pytest.approx(expected)
    assert clipped_share(np.array(values, np.float32), low, high, least=1.0) == 0.0
