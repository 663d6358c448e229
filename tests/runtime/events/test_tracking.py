"""Predictions become tracks: when one begins, goes on and ends, and what is said of every hop."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.runtime.events.event import Event, Verdict
from rep_edge.runtime.events.track_settings import QuietHours, TrackSettings
from rep_edge.runtime.events.tracking import Tracker
from rep_edge.runtime.prediction import Alternative, Prediction

LABELS = ("background", "Car", "Truck")
WALL_S = 1_700_000_000.0
PLAIN = TrackSettings(smoothing_windows=0, onset_windows=1, onset_of=1, end_windows=1, release_margin=0.0)
"""No filter but the threshold of 0.60."""


def heard(hop: int, truck: float, car: float = 0.0, pattern: str = "acoustic+seismic") -> Prediction:
    """A window of 2 s that ends at second `hop`."""
    probabilities = {"background": 1 - truck - car, "Car": car, "Truck": truck}
    label = max(probabilities, key=lambda name: probabilities[name])
    return Prediction(
        label=label, probabilities=probabilities, pattern=pattern, latency_s=0.0, start_s=hop - 2.0, end_s=hop
    )


def silence(hop: int) -> Prediction:
    """A window without a live stream."""
    reasons = {"acoustic": "no samples for 3.0 s", "seismic": "flat at 0"}
    return Prediction(
        label=None, probabilities={}, pattern="", latency_s=0.0, start_s=hop - 2.0, end_s=hop, reasons=reasons
    )


def run(tracker: Tracker, trucks: Sequence[float | None], first: int = 100) -> tuple[list[Event], list[Verdict]]:
    """Events and verdicts of windows, one a second; None: no stream is live."""
    windows = [silence(hop) if p is None else heard(hop, p) for hop, p in enumerate(trucks, first)]
    steps = [tracker.step(window, WALL_S) for window in windows]
    return [event for step in steps for event in step.events], [step.verdict for step in steps]


def whys(settings: TrackSettings, trucks: Sequence[float | None]) -> list[str]:
    return [verdict.why for verdict in run(Tracker("yard", LABELS, settings), trucks)[1]]


def phases(events: Sequence[Event]) -> list[str]:
    return [event.phase for event in events]


def test_a_track_has_an_onset_updates_and_an_end() -> None:
    tracker = Tracker("yard", LABELS, TrackSettings(smoothing_windows=0, update_every_s=2))
    events, _ = run(tracker, [0.1, 0.7, 0.9, 0.8, 0.7, 0.7, 0.2, 0.1, 0.0])
    assert phases(events) == ["onset", "update", "update", "end"]
    onset, *_, end = events
    assert (onset.node, onset.label, onset.pattern) == ("yard", "Truck", "acoustic+seismic")
    assert (onset.start_s, onset.end_s, onset.windows) == (WALL_S + 99, WALL_S + 102, 2)
    assert (onset.confidence, onset.peak) == (0.9, 0.9)
    assert (end.start_s, end.end_s, end.windows) == (WALL_S + 99, WALL_S + 105, 5)
    assert (end.confidence, end.peak) == (0.0, 0.9)
    assert [event.id for event in events] == [f"{onset.track}.{n}" for n in range(4)]


def test_the_id_names_time_and_node_and_can_be_a_file_name() -> None:
    events, _ = run(Tracker("north gate/1", LABELS, PLAIN), [0.9])
    assert re.fullmatch(r"20231114T221458-north_gate_1-[0-9a-f]{8}", events[0].track)


def test_a_clock_set_back_makes_no_id_twice() -> None:
    tracker = Tracker("yard", LABELS, PLAIN)
    ids = [run(tracker, [0.9, 0.0])[0][0].track for _ in range(50)]
    assert len(set(ids)) == 50


def test_flicker_around_the_threshold_gives_one_track() -> None:
    events, _ = run(Tracker("yard", LABELS, TrackSettings(smoothing_windows=0)), [0.59, 0.61] * 20)
    assert [event.phase for event in events if event.phase != "update"] == ["onset"]
    assert len({event.track for event in events}) == 1


def test_one_window_alone_is_no_track() -> None:
    events, _ = run(Tracker("yard", LABELS, TrackSettings(smoothing_windows=0)), [0, 0.99, 0, 0, 0.99, 0, 0])
    assert events == []


def test_windows_below_the_release_belong_to_a_track_that_comes_back() -> None:
    events, _ = run(Tracker("yard", LABELS, TrackSettings(smoothing_windows=0)), [0.8, 0.8, 0.1, 0.1, 0.5, 0, 0, 0])
    assert (events[-1].phase, events[-1].windows, events[-1].end_s) == ("end", 5, WALL_S + 104)


def test_a_short_track_is_never_told() -> None:
    short = TrackSettings(smoothing_windows=0, min_duration_s=5, end_windows=1)
    events, verdicts = run(Tracker("yard", LABELS, short), [0.9, 0.9, 0.9, 0.0])
    assert events == []
    assert [verdict.why for verdict in verdicts[1:]] == [
        "Truck for 3.0 s of at least 5.0 s",
        "Truck for 4.0 s of at least 5.0 s",
        "background gives no events; Truck ended after 4.0 s, it takes 5.0 s, 0.00 is below 0.45 (acoustic+seismic)",
    ]


def test_the_onset_of_a_track_waits_until_it_has_lasted_long_enough() -> None:
    events, _ = run(Tracker("yard", LABELS, TrackSettings(smoothing_windows=0, min_duration_s=5)), [0.9] * 5)
    assert [(event.phase, event.end_s - event.start_s, event.windows) for event in events] == [("onset", 5.0, 4)]


def test_where_no_stream_is_live_a_track_is_held_and_nothing_is_smoothed() -> None:
    tracker = Tracker("yard", LABELS, TrackSettings(hold_s=3))
    events, verdicts = run(tracker, [0.9, 0.9, None, None, None, 0.9])
    assert phases(events) == ["onset"]
    assert verdicts[2].why == "no stream is live: acoustic no samples for 3.0 s, seismic flat at 0; Truck is held"
    assert (verdicts[2].label, verdicts[2].confidence, verdicts[2].event) == (None, 0.0, "")
    assert (verdicts[-1].why, verdicts[-1].confidence) == ("Truck goes on", 0.9)


def test_a_track_ends_where_no_stream_is_live_for_longer() -> None:
    events, verdicts = run(Tracker("yard", LABELS, TrackSettings(hold_s=3)), [0.9, 0.9, None, None, None, None])
    assert phases(events) == ["onset", "end"]
    assert (events[-1].end_s, events[-1].windows, events[-1].confidence) == (WALL_S + 101, 2, 0.9)
    assert verdicts[-1].event == events[-1].id
    assert verdicts[-1].why.endswith("seismic flat at 0; Truck ended after 3.0 s, no stream was live for 4.0 s")


def test_after_a_pause_everything_begins_anew() -> None:
    tracker = Tracker("yard", LABELS, TrackSettings(hold_s=3))
    run(tracker, [0.9])
    _, (verdict,) = run(tracker, [0.7], first=200)
    assert (verdict.confidence, verdict.why) == (0.7, "Truck in 1 of 2 windows")


def test_a_leap_of_time_ends_what_was_heard_before_it() -> None:
    tracker = Tracker("yard", LABELS, PLAIN)
    run(tracker, [0.9])
    events, (verdict,) = run(tracker, [0.9], first=200)
    assert phases(events) == ["end", "onset"]
    assert verdict.why == "Truck ended after 2.0 s, no stream was live for 98.0 s; Truck onset"


def test_every_hop_says_what_became_of_it() -> None:
    assert whys(TrackSettings(smoothing_windows=0, end_windows=2), [0.1, 0.599, 0.7, 0.7, 0.7, 0.44, 0.3]) == [
        "background gives no events",
        "Truck 0.59 is below 0.60 (acoustic+seismic)",
        "Truck in 1 of 2 windows",
        "Truck onset",
        "Truck goes on",
        "background gives no events; Truck goes on, though below 0.45 in 1 of 2 windows",
        "background gives no events; Truck ended after 4.0 s, 0.30 is below 0.45 (acoustic+seismic)",
    ]


def test_two_classes_overlap_while_one_of_them_fades() -> None:
    tracker = Tracker("yard", LABELS, TrackSettings(smoothing_windows=0, onset_windows=1))
    steps = [tracker.step(heard(hop, truck, car), WALL_S) for hop, truck, car in [(1, 0.9, 0), (2, 0.1, 0.9)]]
    assert [(event.label, event.phase) for step in steps for event in step.events] == [
        ("Truck", "onset"),
        ("Car", "onset"),
    ]
    assert steps[1].verdict.why == "Car onset; Truck goes on, though below 0.45 in 1 of 3 windows"
    assert [status.label for status in tracker.running()] == ["Truck", "Car"]
    assert [event.label for event in tracker.finish(WALL_S)] == ["Truck", "Car"]
    assert tracker.running() == ()


def test_classes_and_patterns_have_thresholds_of_their_own() -> None:
    own = TrackSettings(threshold=0.6, thresholds={"Car": 0.7, "Truck": {"acoustic": 0.8, "acoustic+seismic": 0.5}})
    assert own.threshold_of("Car", "acoustic") == 0.7
    assert [own.threshold_of("Truck", p) for p in ("acoustic", "acoustic+seismic", "seismic")] == [0.8, 0.5, 0.6]
    tracker = Tracker("yard", LABELS, own)
    assert tracker.step(heard(1, 0.7, pattern="acoustic"), 0.0).verdict.why == "Truck 0.70 is below 0.80 (acoustic)"
    assert tracker.step(heard(2, 0.7), 0.0).verdict.why == "Truck in 1 of 2 windows"


def test_in_quiet_hours_no_track_begins_but_one_that_runs_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    minute = {100: 21 * 60 + 59, 101: 22 * 60, 102: 22 * 60 + 1}
    monkeypatch.setattr(
        TrackSettings,
        "quiet",
        lambda self, label, wall_s: next(
            (hours for hours in self.quiet_hours if hours.holds(label, minute[int(wall_s - WALL_S)])), None
        ),
    )
    night = QuietHours(begin="22:00", end="06:00")
    settings = TrackSettings(smoothing_windows=0, onset_windows=1, quiet_hours=(night,))
    events, _ = run(Tracker("yard", LABELS, settings), [0.9, 0.9, 0.9])
    assert phases(events) == ["onset"]
    events, verdicts = run(Tracker("yard", LABELS, settings), [0.0, 0.9, 0.9])
    assert events == []
    assert verdicts[1].why == "Truck 0.90 in quiet hours 22:00-06:00"


def test_suspects_and_the_answer_without_them_are_passed_on() -> None:
    other = Alternative(pattern="seismic", label="Car", probabilities={}, disagreement=0.4)
    tracker = Tracker("yard", LABELS, PLAIN)
    window = heard(100, 0.9)
    told = {name: getattr(window, name) for name in window.__struct_fields__}
    told |= {"suspects": {"acoustic": "clipped"}, "alternative": other}
    (event,) = tracker.step(Prediction(**told), WALL_S).events
    assert (event.suspects, event.alternative) == ({"acoustic": "clipped"}, other)


def test_times_follow_the_wall_clock_of_the_moment_and_durations_stay_true() -> None:
    tracker = Tracker("yard", LABELS, PLAIN)
    run(tracker, [0.9, 0.9])
    (end,) = tracker.step(heard(102, 0.0), WALL_S + 3600).events
    assert (end.start_s, end.end_s) == (WALL_S + 3600 + 98, WALL_S + 3600 + 101)


@given(
    st.lists(st.floats(0, 1) | st.none(), max_size=60),
    st.floats(0, 5),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 4),
    st.floats(0, 6),
)
@settings(max_examples=80, deadline=None)
def test_every_onset_has_one_end_and_all_is_in_order(
    trucks: list[float | None], smoothing: float, onset: int, more: int, end: int, least_s: float
) -> None:
    told = TrackSettings(
        smoothing_windows=smoothing,
        onset_windows=onset,
        onset_of=onset + more,
        end_windows=end,
        min_duration_s=least_s,
        update_every_s=4,
        hold_s=2,
    )
    tracker = Tracker("yard", LABELS, told)
    events, verdicts = run(tracker, trucks)
    events += tracker.finish(WALL_S)
    assert len({event.id for event in events}) == len(events)
    for track, group in groupby(events, key=lambda event: event.track):
        messages = list(group)
        inner = phases(messages)[1:-1]
        assert phases(messages) == ["onset", *["update"] * len(inner), "end"]
        assert [event.id for event in messages] == [f"{track}.{n}" for n in range(len(messages))]
        assert messages[-1].end_s - messages[-1].start_s >= max(least_s, 2.0) - 1e-5
        assert all(0 <= event.confidence <= event.peak <= 1 and event.peak >= 0.6 for event in messages)
        assert all(a.windows <= b.windows and a.end_s <= b.end_s for a, b in pairwise(messages))
    assert tracker.running() == ()
    assert all(verdict.why for verdict in verdicts)
    assert [verdict.end_s for verdict in verdicts] == [WALL_S + 100 + hop for hop in range(len(trucks))]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.1, 8))
@settings(max_examples=60, deadline=None)
def test_smoothing_is_an_exponential_moving_average(trucks: list[float], w: float) -> None:
    tracker = Tracker("yard", ("Truck",), TrackSettings(smoothing_windows=w))
    _, verdicts = run(tracker, trucks)
    keep = math.exp(-1 / w)
    n = len(trucks)
    weights = np.array([keep ** (n - 1), *[(1 - keep) * keep ** (n - 1 - i) for i in range(1, n)]])
    assert verdicts[-1].confidence == pytest.approx(float(weights @ trucks), abs=1e-9)


@given(st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.9]), max_size=50), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_tracks_are_those_of_a_plain_search(trucks: list[float], onset: int, end: int) -> None:
    told = TrackSettings(smoothing_windows=0, onset_windows=onset, onset_of=onset, end_windows=end, release_margin=0.2)
    tracker = Tracker("yard", LABELS, told)
    events, _ = run(tracker, trucks, first=0)
    events += tracker.finish(WALL_S)
    found, at = [], 0
    while at < len(trucks):
        if len(trucks) - at >= onset and all(p >= 0.6 for p in trucks[at : at + onset]):
            last = stop = at + onset - 1
            while stop - last < end and stop + 1 < len(trucks):
                stop += 1
                last = stop if trucks[stop] >= 0.6 - 0.2 else last
            found.append((at, last, max(trucks[at : last + 1])))
            at = stop
        at += 1
    spans = [(round(e.start_s - WALL_S) + 2, round(e.end_s - WALL_S), e.peak) for e in events if e.phase == "end"]
    assert spans == found
