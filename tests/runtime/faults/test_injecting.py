"""Each kind of fault does what its line says, to the samples that it covers and to no others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rep_edge.runtime.faults.fault import KINDS, Fault
from rep_edge.runtime.faults.injecting import FaultySource, inject
from rep_edge.runtime.sources.live import Chunk, Refusals

RATE_HZ = 100.0
EPOCH_S = 1_700_000_000.0
SECONDS = 12


def chunks(size: int = 10, channels: int = 1) -> list[Chunk]:
    """12 s of noise about 5 in chunks of `size` samples, stamped since 1970, each arriving as it is complete."""
    x = np.random.default_rng(0).normal(5, 1, (channels, round(SECONDS * RATE_HZ))).astype(np.float32)
    starts = range(0, x.shape[1], size)
    return [
        Chunk(x[:, at : at + size], EPOCH_S + at / RATE_HZ, RATE_HZ, 100 + min(at + size, x.shape[1]) / RATE_HZ)
        for at in starts
    ]


def made(
    kind: str, value: float | None = None, start_s: float = 4.0, end_s: float = 8.0, size: int = 10
) -> list[Chunk]:
    given_value = KINDS[kind].default if value is None else value
    fault = Fault(stream="seismic", kind=kind, value=given_value, start_s=start_s, end_s=end_s)
    return list(inject(chunks(size), [fault], seed=1))


def samples(found: list[Chunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.values[0] for chunk in found])


CLEAN = samples(chunks())
INSIDE = slice(400, 800)


def outside(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.delete(x, INSIDE)


@pytest.mark.parametrize("kind", ["gain", "offset", "noise", "clip", "stuck", "nan"])
@pytest.mark.parametrize("size", [1, 7, 10, 700, 1200])
def test_samples_outside_the_fault_are_untouched(kind: str, size: int) -> None:
    x = samples(made(kind, size=size))
    np.testing.assert_array_equal(outside(x), outside(CLEAN))
    assert not np.array_equal(x[INSIDE], CLEAN[INSIDE])


@pytest.mark.parametrize(
    ("kind", "value", "holds"),
    [
        ("gain", 0.5, lambda x, clean: np.allclose(x, 0.5 * clean)),
        ("offset", 10, lambda x, clean: abs((x - clean).mean() - 10) < 3 and np.ptp(x - clean) < 1e-4),
        ("noise", 2, lambda x, clean: 1.2 < (x - clean).std() < 3),
        ("clip", 0.5, lambda x, clean: 0.5 < np.ptp(x) < 1.5 and (x == x.max()).mean() > 0.2),
        ("stuck", 0, lambda x, clean: set(x) == {CLEAN[399]}),
        ("nan", 0.1, lambda x, clean: 0.05 < np.isnan(x).mean() < 0.15),
        ("nan", 1, lambda x, clean: np.isnan(x).all()),
    ],
)
def test_faults_of_samples(kind: str, value: float, holds: Callable[..., bool]) -> None:
    x = samples(made(kind, value))
    assert x.dtype == np.float32
    assert holds(x[INSIDE], CLEAN[INSIDE])


def test_a_dropout_is_exact_to_the_sample() -> None:
    found = made("dropout", start_s=4.03, end_s=4.07)
    np.testing.assert_array_equal(samples(found), np.delete(CLEAN, slice(403, 407)))
    before, after = (c for c in found if 4.0 <= c.start_s - EPOCH_S < 4.095)
    assert (before.values.shape[1], after.values.shape[1]) == (3, 3)
    assert after.start_s - EPOCH_S == pytest.approx(4.07, abs=1e-6)
    assert before.arrived_s == pytest.approx(104.03)


def test_bursts_lose_their_share_at_a_stretch() -> None:
    fault = Fault(stream="seismic", kind="burst", value=0.3, start_s=0, end_s=1e9)
    sent = [Chunk(np.zeros((1, 1), np.float32), float(i), 1.0, float(i)) for i in range(20_000)]
    came = np.zeros(20_000, bool)
    came[[int(chunk.start_s) for chunk in inject(sent, [fault], seed=0)]] = True
    assert 0.27 < 1 - came.mean() < 0.33
    assert 4 < (~came).sum() / np.count_nonzero(came[:-1] & ~came[1:]) < 6


def test_a_wrong_rate_is_another_count_of_samples_under_the_same_name() -> None:
    found = [c for c in made("rate", 0.9) if 4 <= c.start_s - EPOCH_S < 7.95]
    assert sum(c.values.shape[1] for c in found) == 360
    assert {c.rate_hz for c in found} == {RATE_HZ}
    assert sum(c.values.shape[1] for c in made("rate", 1.25)) == 800 + 500


def test_duplicates_come_twice_in_a_row() -> None:
    found = made("duplicate")
    assert [round(c.start_s - EPOCH_S, 6) for c in found[38:44]] == [3.8, 3.9, 4.0, 4.0, 4.1, 4.1]
    assert len(found) == 120 + 40


def test_reordered_chunks_change_places_with_the_next_and_time_of_arrival_goes_on() -> None:
    found = made("reorder", 1.0)
    assert [round(c.start_s - EPOCH_S, 6) for c in found[39:44]] == [3.9, 4.1, 4.0, 4.3, 4.2]
    assert sorted(c.arrived_s for c in found) == [c.arrived_s for c in found]


def test_late_chunks_come_in_order_and_what_is_held_comes_at_the_end() -> None:
    found = made("late", 1.0)
    delays = {round(c.start_s - EPOCH_S, 1): c.arrived_s - 100 - (c.start_s - EPOCH_S + 0.1) for c in found}
    assert [c.start_s for c in found] == [c.start_s for c in chunks()]
    assert delays[3.9] == pytest.approx(0.0, abs=1e-6)
    assert delays[4.0] == delays[6.5] == pytest.approx(1.0, abs=1e-6)
    assert delays[7.9] == pytest.approx(0.1, abs=1e-6)
    assert delays[8.0] == pytest.approx(0.0, abs=1e-6)
    assert len(made("late", 100.0, 4, 100)) == 120


def test_clocks_jump_and_drift_and_are_set_right() -> None:
    shift = [c.start_s - EPOCH_S - i / 10 for i, c in enumerate(made("jump", -5.0))]
    assert shift == pytest.approx([-5.0 if 40 <= i < 80 else 0.0 for i in range(120)], abs=1e-6)
    shift = [c.start_s - EPOCH_S - i / 10 for i, c in enumerate(made("drift", 1000.0))]
    assert shift == pytest.approx([1e-4 * (i - 40) if 40 <= i < 80 else 0.0 for i in range(120)], abs=1e-6)


def test_a_fault_is_where_the_samples_were_taken_whatever_the_clock_says() -> None:
    both = [
        Fault(stream="seismic", kind="jump", value=1000.0, start_s=2, end_s=6),
        Fault(stream="seismic", kind="drift", value=1e6, start_s=4, end_s=8),
        Fault(stream="seismic", kind="nan", value=1.0, start_s=4, end_s=8),
    ]
    found = list(inject(chunks(), both, seed=0))
    assert np.array_equal(np.isnan(samples(found)), np.isin(np.arange(1200), np.arange(400, 800)))
    assert found[79].start_s - EPOCH_S - 7.9 == pytest.approx(3.9, abs=1e-6)
    assert found[50].start_s - EPOCH_S - 5.0 == pytest.approx(1001.0, abs=1e-6)


def test_seconds_are_counted_from_the_first_chunk_or_as_told() -> None:
    fault = Fault(stream="seismic", kind="dropout", start_s=1, end_s=2)
    (first, *_), kept = chunks(), list(inject(chunks(), [fault], seed=0, zero_s=EPOCH_S - 1))
    assert len(kept) == 110
    assert kept[0].start_s == first.start_s + 1


@st.composite
def some_faults(draw: st.DrawFn) -> list[Fault]:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=4))
    starts = [draw(st.floats(0, 12)) for _ in kinds]
    return [
        Fault(stream="seismic", kind=k, value=KINDS[k].default, start_s=s, end_s=s + draw(st.floats(0.001, 12)))
        for k, s in zip(kinds, starts, strict=True)
    ]


@settings(deadline=None, max_examples=60)
@given(faults=some_faults(), seed=st.integers(0, 9), size=st.integers(1, 300), channels=st.sampled_from([1, 3]))
def test_any_faults_give_chunks_again_and_the_same_ones_for_the_same_seed(
    faults: list[Fault], seed: int, size: int, channels: int
) -> None:
    first, second = (list(inject(chunks(size, channels), faults, seed)) for _ in range(2))
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a[1:] == b[1:]
        assert a.values.dtype == np.float32
        assert a.values.shape[0] == channels
        assert a.values.shape[1] >= 1
        np.testing.assert_array_equal(a.values, b.values)


def test_nothing_is_read_ahead() -> None:
    """A live sensor's chunk goes on before the next one comes."""
    faults = [
        Fault(stream="seismic", kind=kind, value=KINDS[kind].lowest, start_s=1, end_s=2) for kind in ("nan", "late")
    ]
    came: list[int] = []
    source = (came.append(i) or chunk for i, chunk in enumerate(chunks()))  # type: ignore[func-returns-value]
    assert [len(came) for _ in inject(source, faults, 0)] == list(range(1, 121))


class Sensor:
    """Delivers its chunks, then waits to be closed."""

    def __init__(self) -> None:
        self.address, self.refusals, self.closed = "test:", Refusals("test:"), 0

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        try:
            yield from chunks()
        finally:
            self.closed += 1


def test_a_source_with_faults_is_a_source() -> None:
    sensor = Sensor()
    faulty = FaultySource(sensor, [Fault(stream="seismic", kind="dropout", start_s=1, end_s=2)], seed=0)
    assert (faulty.address, faulty.refusals) == (sensor.address, sensor.refusals)
    assert len(list(faulty.chunks(threading.Event()))) == 110
    opened = faulty.chunks(threading.Event())
    next(opened)
    opened.close()  # type: ignore[attr-defined]
    assert sensor.closed == 2
