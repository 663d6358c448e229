"""One prediction a hop, from whatever is live, however the chunks come."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundles import PAIR, TRIPLE, make_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.health import HealthLimits
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.streaming import StreamingClassifier
from rep_edge.runtime.windows import StreamSettings

SECONDS = 12
RATE = {m.name: int(m.rate_hz) for m in TRIPLE.modalities}
BOTH = ("acoustic", "seismic")
Sent = tuple[str, int, int]
"""A chunk: its stream, its first sample, its length."""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(make_bundle(tmp_path_factory.mktemp("pair") / "bundle"))


@pytest.fixture(scope="module")
def signal() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal(SECONDS * RATE[name]).astype(np.float32) for name in BOTH}


@pytest.fixture
def stream(classifier: Classifier) -> StreamingClassifier:
    return StreamingClassifier(classifier)


def feed(
    stream: StreamingClassifier,
    signal: dict[str, NDArray[np.float32]],
    start_s: float,
    stop_s: float,
    names: Iterable[str] = BOTH,
    shift_s: float = 0.0,
) -> list[Prediction]:
    """Both streams side by side in chunks of 0.1 s; shift_s: added to the time stamps."""
    made = []
    for tick in range(round(10 * start_s), round(10 * stop_s)):
        for name in names:
            size = RATE[name] // 10
            made += stream.push(name, signal[name][tick * size : (tick + 1) * size], tick / 10 + shift_s)
    return made


def patterns(predictions: Iterable[Prediction]) -> list[tuple[float, str]]:
    return [(round(p.end_s, 6), p.pattern) for p in predictions]


def test_one_prediction_a_hop(stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]) -> None:
    made = feed(stream, signal, 0, SECONDS)
    assert patterns(made) == [(1 + 0.5 * i, "acoustic+seismic") for i in range(23)]
    assert [p.start_s for p in made] == [p.end_s - 1 for p in made]
    for p in made:
        window = {n: signal[n][None, round(p.start_s * RATE[n]) : round(p.end_s * RATE[n])] for n in BOTH}
        assert p.probabilities == stream.classifier(window).probabilities
        assert (p.reasons, p.latency_s > 0) == ({}, True)


def cuts(name: str) -> st.SearchStrategy[list[Sent]]:
    """The stream's samples in chunks of wild sizes, up to the lateness that windows wait."""
    longest = int(0.4 * RATE[name])
    return st.lists(st.integers(0, longest), max_size=60).map(lambda sizes: _cut(name, sizes, longest))


def _cut(name: str, sizes: list[int], longest: int) -> list[Sent]:
    sent, at = [], 0
    for size in [*sizes, *[longest] * 40]:
        size = min(size, SECONDS * RATE[name] - at)
        sent.append((name, at, size))
        at += size
    return sent


@settings(deadline=None, max_examples=30)
@given(chunks=st.tuples(cuts("acoustic"), cuts("seismic")))
def test_the_sizes_of_chunks_change_nothing(classifier: Classifier, chunks: tuple[list[Sent], list[Sent]]) -> None:
    rng = np.random.default_rng(1)
    signal = {name: rng.standard_normal(SECONDS * RATE[name]).astype(np.float32) for name in BOTH}
    stream = StreamingClassifier(classifier)
    made = []
    for name, at, size in sorted([*chunks[0], *chunks[1]], key=lambda c: (c[1] + c[2]) / RATE[c[0]]):
        made += stream.push(name, signal[name][at : at + size], at / RATE[name])
    reference = feed(StreamingClassifier(classifier), signal, 0, SECONDS)
    assert [(p.end_s, p.probabilities) for p in made] == [(p.end_s, p.probabilities) for p in reference]


def test_one_chunk_of_everything(classifier: Classifier, signal: dict[str, NDArray[np.float32]]) -> None:
    made = StreamingClassifier(classifier).push("seismic", signal["seismic"], 0.0)
    alone = StreamingClassifier(classifier)
    reference = feed(alone, signal, 0, SECONDS, ["seismic"])
    assert made[: len(reference)] != []
    assert [p.probabilities for p in made] == [p.probabilities for p in reference][: len(made)]


def test_a_stream_that_stops_is_lost_and_one_that_returns_counts_after_two_windows(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]
) -> None:
    made = feed(stream, signal, 0, 4)
    made += feed(stream, signal, 4, 8, ["seismic"])
    made += feed(stream, signal, 8, SECONDS)
    lost = [4.5 + 0.5 * i for i in range(10)]
    assert patterns(made) == [
        (1 + 0.5 * i, "seismic" if 1 + 0.5 * i in lost else "acoustic+seismic") for i in range(23)
    ]
    told = {p.end_s: p.reasons["acoustic"] for p in made if p.end_s in lost}
    assert told[4.5] == "no samples for 0.5 s"
    assert told[6.0] == "no samples for 2.0 s"
    assert told[8.5] == "0.5 s of 1.0 s received"
    assert told[9.0] == "back, healthy for 1 of 2 windows"


def test_only_the_first_window_waits_for_a_stream_that_stopped(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]
) -> None:
    feed(stream, signal, 0, 4)
    due = {}
    for tick in range(40, 70):
        for p in feed(stream, signal, tick / 10, (tick + 1) / 10, ["seismic"]):
            due[p.end_s] = (tick + 1) / 10
    assert due == {4.5: 5.0, 5.0: 5.0, 5.5: 5.5, 6.0: 6.0, 6.5: 6.5, 7.0: 7.0}


def test_a_stream_that_was_never_there(stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]) -> None:
    made = feed(stream, signal, 0, 5, ["seismic"])
    assert {p.pattern for p in made} == {"seismic"}
    assert {p.reasons["acoustic"] for p in made} == {"no samples yet"}
    assert made[-1].end_s == 5.0


def test_with_no_stream_at_all_time_goes_on(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]
) -> None:
    feed(stream, signal, 0, 3)
    made = stream.advance(6.0)
    assert [p.end_s for p in made] == [3.5, 4.0, 4.5, 5.0, 5.5, 6.0][: len(made)]
    assert len(made) >= 5
    assert {(p.label, p.pattern, p.latency_s) for p in made} == {(None, "", 0.0)}
    assert made[2].probabilities == {}
    assert made[2].reasons == dict.fromkeys(BOTH, "no samples for 1.5 s")


def test_before_any_stream_begins(stream: StreamingClassifier) -> None:
    assert stream.advance(100.0) == []
    made = stream.advance(103.0)
    assert [p.end_s for p in made] == [101.0, 101.5, 102.0, 102.5, 103.0][: len(made)]
    assert made[0].reasons == dict.fromkeys(BOTH, "no samples yet")


def test_a_stream_that_lags_is_waited_for(stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]) -> None:
    made = []
    for tick in range(60):
        made += feed(stream, signal, tick / 10, (tick + 1) / 10, ["acoustic"])
        if tick >= 4:
            made += feed(stream, signal, (tick - 4) / 10, (tick - 3) / 10, ["seismic"])
    assert {p.pattern for p in made} == {"acoustic+seismic"}
    assert made[-1].end_s == 5.5


def test_a_stream_that_lags_for_longer_is_not(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]
) -> None:
    made = []
    for tick in range(60):
        made += feed(stream, signal, tick / 10, (tick + 1) / 10, ["acoustic"])
        if tick >= 8:
            made += feed(stream, signal, (tick - 8) / 10, (tick - 7) / 10, ["seismic"])
    assert {p.pattern for p in made} == {"acoustic"}
    assert made[-1].end_s == 6.0


def test_chunks_twice_and_out_of_order(stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]) -> None:
    reference = feed(StreamingClassifier(stream.classifier), signal, 0, 8)
    made = []
    for start in range(8):
        for tick in (0, 2, 1, 1, 5, 4, 3, 0, 8, 7, 6, 9):
            made += feed(stream, signal, start + tick / 10, start + (tick + 1) / 10)
    assert [(p.end_s, p.probabilities) for p in made] == [(p.end_s, p.probabilities) for p in reference]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda x: np.full_like(x, np.nan), "samples that are no numbers"),
        (lambda x: np.full_like(x, np.inf), "samples that are no numbers"),
        (lambda x: np.full_like(x, 0.7), "stuck at one value"),
        (lambda x: np.clip(x, -0.3, 0.3), "clipped"),
        (lambda x: x * np.float32(1e30), "samples as large as"),
    ],
)
def test_a_faulty_sensor_is_left_out_and_named(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]], fault: object, reason: str
) -> None:
    assert callable(fault)
    broken = dict(signal, acoustic=signal["acoustic"].copy())
    broken["acoustic"][4 * 800 : 7 * 800] = fault(broken["acoustic"][4 * 800 : 7 * 800])
    made = {p.end_s: p for p in feed(stream, broken, 0, SECONDS)}
    assert len(made) == 23
    for end in (5.0, 5.5, 6.0, 7.0):
        assert made[end].pattern == "seismic"
        # Nothing but the one value is a flat line.
        assert reason in made[end].reasons["acoustic"] or made[end].reasons["acoustic"].startswith("flat")
    assert [made[end].pattern for end in (3.5, 4.0, 8.5, 9.0)] == ["acoustic+seismic"] * 4
    assert "back, healthy for 1 of 2 windows" in [p.reasons.get("acoustic") for p in made.values()]


@pytest.mark.parametrize("leap_s", [3600.0, -3600.0, 1.8e9])
def test_a_stream_whose_clock_leaps_is_left_out_while_others_go_on(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]], leap_s: float
) -> None:
    made = feed(stream, signal, 0, 4)
    for tick in range(40, 80):
        made += feed(stream, signal, tick / 10, (tick + 1) / 10, ["acoustic"], shift_s=leap_s)
        made += feed(stream, signal, tick / 10, (tick + 1) / 10, ["seismic"])
    made += feed(stream, signal, 8, SECONDS)
    assert [p.end_s for p in made] == [1 + 0.5 * i for i in range(23)]
    assert {p.pattern for p in made[7:15]} == {"seismic"}
    assert made[8].reasons["acoustic"] == f"its clock is {leap_s:+.0f} s apart"
    assert made[-1].pattern == "acoustic+seismic"


@pytest.mark.parametrize("leap_s", [3600.0, -3600.0, 1.8e9])
@pytest.mark.parametrize("names", [BOTH, ("seismic",)])
def test_when_all_clocks_leap_the_time_line_begins_anew(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]], leap_s: float, names: tuple[str, ...]
) -> None:
    before = feed(stream, signal, 0, 4, names)
    after = feed(stream, signal, 4, SECONDS, names, shift_s=leap_s)
    assert before[-1].end_s == 4.0
    later = [p for p in after if abs(p.end_s - leap_s) < 100]
    assert later[-1].pattern == "+".join(names)
    assert later[0].end_s - leap_s < 4 + 1.5 + 1 + 0.2
    np.testing.assert_allclose(np.diff([p.end_s for p in later]), 0.5, atol=1e-6)


def test_a_clock_that_drifts_loses_nothing(classifier: Classifier) -> None:
    stream = StreamingClassifier(classifier)
    rng = np.random.default_rng(3)
    made = []
    for tick in range(6000):
        for name, drift in (("acoustic", 2e-4), ("seismic", -2e-4)):
            chunk = rng.standard_normal(RATE[name] // 10).astype(np.float32)
            made += stream.push(name, chunk, 1.8e9 + tick / 10 * (1 + drift))
    assert len(made) >= 1196
    assert {p.pattern for p in made} == {"acoustic+seismic"}


def test_hops_stay_on_their_grid(classifier: Classifier) -> None:
    stream = StreamingClassifier(classifier, StreamSettings(hop_s=0.1))
    stream.advance(1.8e9)
    made = stream.advance(1.8e9 + 1000)
    assert len(made) >= 9985
    assert max(abs(p.end_s - (1.8e9 + 1 + i / 10)) for i, p in enumerate(made)) < 1e-6


def test_three_sensors(tmp_path: Path) -> None:
    stream = StreamingClassifier(Classifier.load(make_bundle(tmp_path / "bundle", TRIPLE)))
    rng = np.random.default_rng(0)
    made = []
    for tick in range(60):
        for m in TRIPLE.modalities:
            if not (m.name == "acoustic" and tick >= 30):
                chunk = rng.standard_normal((m.channels, RATE[m.name] // 10)).astype(np.float32)
                made += stream.push(m.name, chunk, tick / 10)
    assert patterns(made)[:5] == [(1 + 0.5 * i, "acoustic+seismic+magnetic") for i in range(5)]
    assert patterns(made)[5:] == [(3.5 + 0.5 * i, "seismic+magnetic") for i in range(6)]


def test_a_hop_longer_than_the_window(classifier: Classifier, signal: dict[str, NDArray[np.float32]]) -> None:
    stream = StreamingClassifier(classifier, StreamSettings(hop_s=4.0))
    assert patterns(feed(stream, signal, 0, SECONDS)) == [(end, "acoustic+seismic") for end in (1.0, 5.0, 9.0)]


def test_no_graph_is_opened_after_the_start(
    stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("a graph was opened")

    monkeypatch.setattr("rep_edge.runtime.backends.onnxruntime.OnnxRuntimeBackend.open", opened)
    made = feed(stream, signal, 0, 3) + feed(stream, signal, 3, 6, ["seismic"]) + feed(stream, signal, 6, 9)
    made += feed(stream, signal, 9, SECONDS, ["acoustic"])
    assert {p.pattern for p in made} == {"acoustic+seismic", "seismic", "acoustic"}


def test_a_long_stream_does_not_grow(stream: StreamingClassifier, signal: dict[str, NDArray[np.float32]]) -> None:
    def minutes(first: int, last: int) -> None:
        for block in range(first, last):
            names = BOTH if block % 3 else ("seismic",)
            feed(stream, signal, 0, SECONDS, names, shift_s=float(block * SECONDS))

    minutes(0, 8)
    tracemalloc.start()
    minutes(8, 12)
    before = tracemalloc.get_traced_memory()[0]
    minutes(12, 40)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 672 predictions; numpy keeps a few small pieces of memory for the arrays to come.
    assert after - before < 40_000
    assert peak - before < 100_000


def test_what_is_no_chunk(stream: StreamingClassifier) -> None:
    with pytest.raises(InputError, match="radar: is no modality of this bundle; it has acoustic, seismic"):
        stream.push("radar", np.zeros(3, np.float32), 0.0)
    with pytest.raises(InputError, match="seismic: a chunk has shape"):
        stream.push("seismic", np.zeros((2, 3), np.float32), 0.0)
    for time_s in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="seismic: start_s must be a time in s"):
            stream.push("seismic", np.zeros(3, np.float32), time_s)
        with pytest.raises(InputError, match="now_s must be a time in s"):
            stream.advance(time_s)
    assert stream.push("seismic", np.zeros(0, np.float32), 0.0) == []


@pytest.mark.parametrize(
    ("name", "value"), [("hop_s", 0.0), ("hop_s", np.inf), ("lateness_s", -1.0), ("slack_s", np.nan), ("restart_s", -1)]
)
def test_settings_that_are_none(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}: must be"):
        msgspec.structs.replace(StreamSettings(), **{name: value})


def test_limits_are_the_callers(classifier: Classifier, signal: dict[str, NDArray[np.float32]]) -> None:
    stream = StreamingClassifier(classifier, health=HealthLimits(clipped=0.9, readmit=1))
    clipped = {name: np.clip(values, -0.3, 0.3) for name, values in signal.items()}
    assert PAIR.names == BOTH
    assert patterns(feed(stream, clipped, 0, 3)) == [(1 + 0.5 * i, "acoustic+seismic") for i in range(5)]
