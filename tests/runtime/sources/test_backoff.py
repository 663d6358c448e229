"""Waits grow, stay bounded, and begin anew after things went well."""

from __future__ import annotations

from rep_edge.runtime.sources.backoff import Backoff


def test_waits_double_up_to_the_limit() -> None:
    backoff = Backoff(first_s=1, most_s=10)
    assert [backoff.wait_s(0) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_failures_that_lie_far_apart_do_not_add_up() -> None:
    backoff = Backoff(first_s=1, most_s=60, healthy_s=60)
    assert [backoff.wait_s(59), backoff.wait_s(59), backoff.wait_s(60), backoff.wait_s(3600)] == [1, 2, 1, 1]


def test_a_first_wait_beyond_the_limit_is_the_limit() -> None:
    assert Backoff(first_s=9, most_s=5).wait_s(0) == 5
