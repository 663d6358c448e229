"""Windows carry what is live, say why the rest is not, and notice what becomes strange."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundles import PAIR, make_bundle
from numpy.typing import NDArray

from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.health import HealthLimits, StreamHealth, Transition
from rep_edge.runtime.manifest import HealthRecord, Manifest
from rep_edge.runtime.symptoms import limits_of
from rep_edge.runtime.windows import LiveWindow, LiveWindows, StreamCounts

RATE = {m.name: int(m.rate_hz) for m in PAIR.modalities}
BOTH = ("acoustic", "seismic")
SEEN = HealthRecord(
    windows=9, noise_low=0.5, noise_high=1.5, mean_low=-0.1, mean_high=0.1, largest=9.0, clipped=0.0, stuck_s=0.0
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    made = open_bundle(make_bundle(tmp_path_factory.mktemp("pair") / "bundle")).manifest
    return msgspec.structs.replace(made, health=dict.fromkeys(BOTH, SEEN))


@pytest.fixture
def windows(manifest: Manifest) -> LiveWindows:
    return LiveWindows(PAIR, limits_of(manifest, HealthLimits()))


def noise(name: str, seconds: float, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE[name])).astype(np.float32)


def feed(
    windows: LiveWindows,
    start_s: float,
    stop_s: float,
    zero_s: float = 0.0,
    loud: dict[str, float] | None = None,
    names: tuple[str, ...] = BOTH,
) -> list[LiveWindow]:
    """Noise in chunks of 0.1 s. loud: factor of a stream's samples."""
    made = []
    for tick in range(round(10 * start_s), round(10 * stop_s)):
        for name in names:
            chunk = noise(name, 0.1, tick) * np.float32((loud or {}).get(name, 1.0))
            made += windows.push(name, chunk, zero_s + tick / 10)
    return made


@pytest.mark.parametrize("zero_s", [0.0, 12345.6, 1.8e9])
def test_any_time_line_will_do(windows: LiveWindows, zero_s: float) -> None:
    made = feed(windows, 0, 5, zero_s)
    assert [round(w.end_s - zero_s, 5) for w in made] == [1 + 0.5 * i for i in range(9)]
    for w in made:
        assert w.start_s == w.end_s - 1
        assert {name: values.shape for name, values in w.values.items()} == {"acoustic": (1, 800), "seismic": (1, 100)}
        assert w.health == dict.fromkeys(BOTH, StreamHealth("live"))
        assert (w.reasons, w.suspects) == ({}, {})


def test_a_stream_that_becomes_strange_takes_part_and_is_named(windows: LiveWindows) -> None:
    feed(windows, 0, 5)
    made = feed(windows, 5, 10, loud={"acoustic": 30.0})
    assert all(set(w.values) == set(BOTH) for w in made)
    assert [sorted(w.suspects) for w in made[-5:]] == [["acoustic"]] * 5
    assert made[-1].suspects["acoustic"].startswith("noise of ")
    assert made[-1].health["acoustic"].reason == "noise_high"
    calm = feed(windows, 10, 15)
    assert calm[-1].suspects == {}
    assert made[0].suspects == {}, "one loud window is an event, not a fault"


def test_a_rate_that_was_noted(windows: LiveWindows) -> None:
    windows.note_rate("seismic", 91.0)
    made = feed(windows, 0, 5)
    assert made[-1].suspects == {"seismic": "91 samples a second instead of 100"}
    windows.note_rate("seismic", None)
    assert feed(windows, 5, 10)[-1].suspects == {}


def test_what_became_of_the_streams_is_told_once(windows: LiveWindows) -> None:
    feed(windows, 0, 4)
    assert [(t.name, t.old, t.new) for t in windows.take_transitions()] == [
        ("acoustic", "lost", "live"),
        ("seismic", "lost", "live"),
    ]
    feed(windows, 4, 6, names=("seismic",))
    assert windows.take_transitions() == [Transition("acoustic", "live", "lost", "no samples for 0.5 s", 4.5)]
    feed(windows, 6, 9)
    back = windows.take_transitions()
    assert [(t.old, t.new, t.told) for t in back] == [
        ("lost", "recovering", "back, healthy for 1 of 2 windows"),
        ("recovering", "live", ""),
    ]
    assert windows.take_transitions() == []
    assert windows.health["acoustic"] == StreamHealth("live")


def test_transitions_that_nobody_takes_do_not_pile_up(windows: LiveWindows) -> None:
    for start_s in range(0, 3000, 3):
        feed(windows, start_s, start_s + 1.2, names=("seismic",))
        windows.advance(start_s + 2.9)
    assert len(windows.take_transitions()) <= 256


def test_gaps_and_levels_are_counted_and_measured(windows: LiveWindows) -> None:
    assert windows.levels == dict.fromkeys(BOTH)
    assert (windows.newest_s("seismic"), windows.counts["seismic"]) == (None, StreamCounts(0, 0))
    windows.push("seismic", 3 * noise("seismic", 2.0), 0.0)
    windows.push("seismic", 3 * noise("seismic", 1.0), 2.03)
    windows.push("seismic", 3 * noise("seismic", 1.0), 3.53)
    assert windows.counts == {"acoustic": StreamCounts(0, 0), "seismic": StreamCounts(1, 1)}
    assert windows.newest_s("seismic") == 4.53
    feed(windows, 5, 8, loud={"seismic": 3.0}, names=("seismic",))
    assert windows.levels["seismic"] == pytest.approx(3.0, rel=0.3)
    assert windows.levels["acoustic"] is None


def test_where_somebody_tells_the_time_no_stream_begins_it_anew(windows: LiveWindows) -> None:
    made = feed(windows, 0, 4)
    for tick in range(40, 120):
        for name in BOTH:
            made += windows.push(name, noise(name, 0.1, tick), 1e6 + tick / 10)
        made += windows.advance(tick / 10)
    assert max(w.end_s for w in made) <= 12
    assert made[-1].health["seismic"].reason == "clock"
    assert made[-1].reasons["seismic"] == "its clock is +1000000 s apart"


def test_a_window_is_the_callers_to_keep(windows: LiveWindows) -> None:
    first = feed(windows, 0, 2)[0]
    kept = first.values["acoustic"].copy()
    health = dict(first.health)
    feed(windows, 2, 10, names=("seismic",))
    np.testing.assert_array_equal(first.values["acoustic"], kept)
    assert first.health == health


def test_settings_in_a_bundle_reach_the_stream(tmp_path: Path) -> None:
    from rep_edge.runtime.amendment import amend
    from rep_edge.runtime.classifier import Classifier
    from rep_edge.runtime.streaming import StreamingClassifier

    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    amend(bundle, {}, msgspec.structs.replace(bundle.manifest, health={"acoustic": SEEN}))
    stream = StreamingClassifier(Classifier.load(tmp_path / "bundle"))
    made = []
    for tick in range(50):
        made += stream.push("acoustic", 30 * noise("acoustic", 0.1, tick), tick / 10)
        made += stream.push("seismic", 30 * noise("seismic", 0.1, tick), tick / 10)
    assert set(made[-1].suspects) == {"acoustic"}
    assert made[-1].pattern == "acoustic+seismic"
    assert made[-1].alternative is not None
    assert made[-1].alternative.pattern == "seismic"
