"""Seeds: the same for the same purpose, unrelated otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rep_edge.seeds import derive_seed

seeds = st.integers(0, 2**63)
purposes = st.tuples(st.sampled_from(["order", "step"]), st.integers(0, 10**6), st.integers(0, 64))


@given(seed=seeds, purpose=purposes)
def test_a_seed_depends_on_run_and_purpose_alone(seed: int, purpose: tuple[str, int, int]) -> None:
    assert derive_seed(seed, *purpose) == derive_seed(seed, *purpose)
    assert 0 <= derive_seed(seed, *purpose) < 2**63


@given(one=st.tuples(seeds, purposes), other=st.tuples(seeds, purposes))
def test_other_runs_and_purposes_have_other_seeds(
    one: tuple[int, tuple[str, int, int]], other: tuple[int, tuple[str, int, int]]
) -> None:
    if one != other:
        assert derive_seed(one[0], *one[1]) != derive_seed(other[0], *other[1])
