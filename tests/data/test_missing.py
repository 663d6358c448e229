"""Missing tables: the shares are exact, disjoint and decided by the seed alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rep_edge.data.missing import draw_patterns, share_out
from rep_edge.signals import Stream, WindowSpec

sizes = st.integers(0, 300)
rates = st.floats(0, 1)
seeds = st.integers(0, 2**63)
specs = st.integers(1, 4).map(lambda k: spec_of("abcd"[:k]))


def spec_of(names: str) -> WindowSpec:
    return WindowSpec(hop_s=1.0, modalities=tuple(Stream(name=n, rate_hz=1.0, samples=2) for n in names))


@given(n=sizes, rate=rates, seed=seeds, data=st.data())
def test_each_named_modality_is_missing_in_its_share(n: int, rate: float, seed: int, data: st.DataObject) -> None:
    spec = spec_of("abcd"[: data.draw(st.integers(2, 4))])
    missing = data.draw(st.lists(st.sampled_from(spec.names), min_size=1, unique=True))
    counts = Counter(draw_patterns(spec, n, missing, rate, seed))
    assert counts.total() == n
    assert n - counts[spec.complete] == round(rate * n)
    shares = [counts[spec.complete - {name}] for name in missing]
    assert sum(shares) == round(rate * n), "a window lost something else"
    assert max(shares) - min(shares) <= 1 + (round(rate * n) % len(missing) > 0)


@given(n=sizes, rate=rates, seed=seeds)
def test_the_seed_alone_decides(n: int, rate: float, seed: int) -> None:
    spec = spec_of("ab")
    assert draw_patterns(spec, n, ("a",), rate, seed) == draw_patterns(spec, n, ("a",), rate, seed)


@given(n=sizes, low=rates, high=rates, seed=seeds)
def test_a_higher_rate_keeps_what_a_lower_one_took(n: int, low: float, high: float, seed: int) -> None:
    spec, (low, high) = spec_of("ab"), sorted((low, high))
    fewer, more = (draw_patterns(spec, n, ("b",), rate, seed) for rate in (low, high))
    assert all(after != spec.complete for before, after in zip(fewer, more, strict=True) if before != spec.complete)


@given(spec=specs, n=sizes, rate=rates, seed=seeds)
def test_training_draws_every_incomplete_pattern_equally(spec: WindowSpec, n: int, rate: float, seed: int) -> None:
    incomplete = [p for p in spec.patterns() if p != spec.complete]
    counts = Counter(share_out(spec, n, incomplete, rate, seed))
    assert set(counts) <= set(spec.patterns())
    assert n - counts[spec.complete] == (round(rate * n) if incomplete else 0)
    if incomplete:
        shares = [counts[p] for p in incomplete]
        assert max(shares) - min(shares) <= 2


def test_with_two_modalities_training_and_evaluation_draw_alike() -> None:
    spec = spec_of("ab")
    drawn = Counter(share_out(spec, 100, spec.patterns()[1:], 0.7, 5))
    assert drawn == {spec.complete: 30, frozenset("a"): 35, frozenset("b"): 35}
    assert drawn == Counter(draw_patterns(spec, 100, ("a", "b"), 0.7, 5))


def test_other_seeds_take_other_windows() -> None:
    spec = spec_of("ab")
    tables = [draw_patterns(spec, 200, ("a",), 0.5, seed) for seed in range(50)]
    taken = np.array([[p != spec.complete for p in table] for table in tables])
    assert np.abs(taken.mean(axis=0) - 0.5).max() < 0.35, "some windows are favoured"


@pytest.mark.parametrize(
    ("missing", "rate"), [(("c",), 0.5), (("a", "a"), 0.5), (("a",), -0.1), (("a",), 1.1), (("a",), float("nan"))]
)
def test_nonsense_is_refused(missing: tuple[str, ...], rate: float) -> None:
    with pytest.raises(ValueError, match=r"missing must be|rate must"):
        draw_patterns(spec_of("ab"), 10, missing, rate, 0)


def test_a_window_keeps_a_live_modality() -> None:
    with pytest.raises(ValueError, match="at least one live"):
        draw_patterns(spec_of("a"), 10, ("a",), 0.5, 0)
