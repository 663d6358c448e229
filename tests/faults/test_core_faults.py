"""Whatever goes wrong with the sensors: a prediction each hop, none of a dead stream, and streams that come back."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from bundles import PAIR, make_bundle
from faulted import (
    BOTH,
    HOP_S,
    SLACK_S,
    deliveries,
    hops_out,
    make_node,
    play,
    require_every_hop,
    require_no_dead_stream,
    turns,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.faults.fault import KINDS, Fault

HARMLESS = {
    "gain": (0.1, 10.0),
    "offset": (10.0,),
    "noise": (1.0,),
    "duplicate": (1.0,),
    "reorder": (0.5, 1.0),
    "late": (0.3,),
    "drift": (200.0, -200.0),
    "nan": (0.0,),
    "burst": (0.0,),
}
"""Kind -> values at which a stream is as good as before, or at most suspect."""
LOSING = {"dropout": 0.0, "nan": 0.1, "stuck": 0.0, "clip": 0.5, "late": 3.0}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(make_bundle(tmp_path_factory.mktemp("pair") / "bundle"), backend="onnxruntime-cpu")


def fault(stream: str, kind: str, start_s: float, end_s: float, value: float | None = None) -> Fault:
    return Fault(
        stream=stream, kind=kind, start_s=start_s, end_s=end_s, value=KINDS[kind].default if value is None else value
    )


def test_without_faults_all_streams_are_live_in_every_window(classifier: Classifier) -> None:
    made = play(classifier, [], 30)
    require_every_hop(made, 30)
    assert {p.pattern for p in made} == {BOTH}


@pytest.mark.parametrize("stream", PAIR.names)
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_alone(classifier: Classifier, kind: str, stream: str) -> None:
    faults = [fault(stream, kind, 10.0, 20.0)]
    made = play(classifier, faults, 40)
    require_every_hop(made, 40)
    require_no_dead_stream(made, faults)
    (other,) = {*PAIR.names} - {stream}
    assert all(other in p.pattern for p in made)
    assert made[-1].pattern == BOTH


@pytest.mark.parametrize("stream", PAIR.names)
@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in HARMLESS.items() for value in values])
def test_what_does_no_harm_takes_no_stream_away(classifier: Classifier, kind: str, value: float, stream: str) -> None:
    made = play(classifier, [fault(stream, kind, 10.0, 25.0, value)], 35)
    require_every_hop(made, 35)
    assert {p.pattern for p in made} == {BOTH}


@pytest.mark.parametrize("stream", PAIR.names)
@pytest.mark.parametrize(("kind", "value"), LOSING.items())
@pytest.mark.parametrize("start_s", [10.0, 10.23])
def test_a_stream_is_out_within_two_hops_and_in_again_within_two_of_its_window_being_clean(
    classifier: Classifier, kind: str, value: float, stream: str, start_s: float
) -> None:
    end_s = start_s + 5.0
    made = play(classifier, [fault(stream, kind, start_s, end_s, value)], 30)
    during = [p for p in made if start_s + 2 * HOP_S + SLACK_S <= p.end_s <= end_s]
    assert during
    assert all(stream not in p.pattern for p in during)
    assert hops_out(made, stream, end_s + SLACK_S) < 2


def test_a_wrong_rate_makes_a_stream_suspect_and_no_more(classifier: Classifier) -> None:
    made = play(classifier, [fault("seismic", "rate", 10.0, 50.0, 0.9)], 50)
    assert "samples a second instead of 100" in made[-1].suspects["seismic"]
    assert made[-1].alternative is not None
    assert made[-1].alternative.pattern == "acoustic"


@pytest.mark.parametrize("value", [5.0, 300.0, -5.0, -300.0])
def test_a_clock_that_is_set_wrong_and_right_again(classifier: Classifier, value: float) -> None:
    made = play(classifier, [fault("seismic", "jump", 10.0, 30.0, value)], 50)
    require_every_hop(made, 50)
    assert all("acoustic" in p.pattern for p in made)
    for from_s in (15.0, 35.0):
        assert hops_out(made, "seismic", from_s) < 4, [(p.end_s, p.pattern, p.reasons) for p in made]


def test_all_streams_dead_is_a_hop_without_an_answer(classifier: Classifier) -> None:
    faults = [fault(name, "dropout", 5.0, 65.0) for name in PAIR.names]
    made = play(classifier, faults, 75)
    require_every_hop(made, 75)
    require_no_dead_stream(made, faults)
    assert {p.pattern for p in made if 7 <= p.end_s <= 65} == {""}
    assert made[-1].pattern == BOTH


ANY_VALUE = {
    # A clock that is 5 s fast and is set right in a silence of 5 s looks like a network that became 5 s slower, which
    # is waited for: so none is fast by less than the longest silence here.
    "jump": st.floats(-100, -1) | st.floats(30, 100),
    "late": st.floats(0.1, 10),
    "drift": st.floats(-2000, 2000),
}


@st.composite
def any_fault(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from(sorted(KINDS)))
    start_s = draw(st.floats(2, 28))
    value = draw(ANY_VALUE[kind]) if kind in ANY_VALUE else None
    return fault(draw(st.sampled_from(PAIR.names)), kind, start_s, start_s + draw(st.floats(0.05, 30 - start_s)), value)


# Not shrunk, which would take minutes: five faults at the most can be read as they are.
@settings(deadline=None, max_examples=15, phases=(Phase.reuse, Phase.generate))
@given(faults=st.lists(any_fault(), min_size=1, max_size=5), seed=st.integers(0, 5))
def test_faults_in_any_company(classifier: Classifier, faults: list[Fault], seed: int) -> None:
    """A stream that came and went often is back after half a minute at the latest."""
    made = play(classifier, faults, 60, seed)
    require_every_hop(made, 60)
    require_no_dead_stream(made, faults)
    assert made[-1].pattern == BOTH


def test_memory_stays_what_it_is_whatever_comes(classifier: Classifier) -> None:
    kinds = sorted(KINDS)
    faults = [
        fault(name, kinds[(i + shift) % len(kinds)], 5.0 * i, 5.0 * i + 3)
        for i in range(1, 29)
        for shift, name in enumerate(PAIR.names)
    ]
    made = turns(classifier, make_node(classifier), deliveries(faults, 150), 151)
    tracemalloc.start()
    try:
        assert sum(1 for _ in itertools.islice(made, 80)) == 80
        warm, _ = tracemalloc.get_traced_memory()
        assert sum(1 for _ in itertools.islice(made, 200)) == 200
        end, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert end - warm < 100_000
