"""The soak, short: no hop missing and no event lost while sensors fail and the core is killed; and its arithmetic."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = ("soak", "soak_bundle", "soak_core", "soak_report", "soak_sensors", "soak_watch")


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import soak

    yield soak
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_no_hop_is_missing_and_no_event_lost(
    soak: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["soak.py", "--minutes", "2", "--out", str(tmp_path / "soak.json")])
    results = []
    monkeypatch.setattr(soak, "print_result", results.append)
    soak.main()
    (result,) = results
    assert (result.missing, result.lost) == (0, 0)
    assert result.restarts >= 1
    assert result.windows > 100
    assert result.acknowledged > 0
    assert sum(result.faults.values()) > 10
    assert (tmp_path / "soak.png").exists()
    sys.modules["soak_report"].print_result(result)
    assert "0 lost" in capsys.readouterr().out


def test_a_slope_is_told_with_its_interval(soak: ModuleType) -> None:
    rng = np.random.default_rng(0)
    samples = [(float(s), 50.0 + 3.0 * s / 3600 + rng.normal(0, 0.1)) for s in range(0, 7200, 10)]
    slope, low, high = soak.fit_slope(samples)
    assert low < 3.0 < high
    assert slope == pytest.approx(3.0, abs=0.1)
    assert soak.fit_slope(samples[:20]) == (None, None, None)


def test_percentiles_come_from_bins(soak: ModuleType) -> None:
    turns = Counter({-300: 980, -200: 19, -100: 1})
    found = soak.summarise_turns(turns)
    assert (found["p50"], found["p99"], found["most"]) == pytest.approx((1.0, 10.0, 100.0))


def test_sensors_are_the_same_for_the_same_seed_and_in_order(soak: ModuleType) -> None:
    from soak_bundle import SPEC
    from soak_sensors import segments

    first, second = (next(segments(SPEC, 3, 600.0)) for _ in range(2))
    assert first.faults == second.faults != ()
    arrived = [chunk.arrived_s for _, chunk in first.deliveries]
    assert arrived == [chunk.arrived_s for _, chunk in second.deliveries]
    assert arrived == sorted(arrived)
    assert 600.0 < arrived[0] < arrived[-1] < 1201.0
