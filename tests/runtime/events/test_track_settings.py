"""The section `events` of the configuration: what it takes, and what cannot be meant."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from rep_edge.runtime.events.problems import problems
from rep_edge.runtime.events.track_settings import QuietHours, TrackSettings

LABELS = ("background", "Car", "Truck")
PATTERNS = ("acoustic+seismic", "acoustic", "seismic")


def read(**keys: Any) -> TrackSettings:
    return msgspec.convert(keys, TrackSettings)


def found(**keys: Any) -> list[str]:
    return problems(read(**keys), LABELS, PATTERNS)


def test_the_defaults_fit_every_bundle() -> None:
    assert found() == []
    assert problems(TrackSettings(), ("Car", "Truck"), ("acoustic",)) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"threshold": 1.2}, "threshold: must be above 0 and below 1, not 1.2"),
        ({"thresholds": {"Truck": 0}}, "thresholds.Truck: must be above 0 and below 1, not 0"),
        ({"thresholds": {"Truck": {"seismic": 7}}}, "thresholds.Truck.seismic: must be above 0 and below 1, not 7"),
        ({"smoothing_windows": -1}, "smoothing_windows: must be at least 0, not -1"),
        ({"hold_s": float("nan")}, "hold_s: must be at least 0, not nan"),
        ({"update_every_s": 0}, "update_every_s: must be above 0, not 0"),
        ({"end_windows": 0}, "end_windows: must be at least 1, not 0"),
        ({"onset_windows": 3, "onset_of": 2}, "onset_windows: 3 of 2 can never be; raise onset_of"),
        ({"quiet_hours": [{"from": "22", "to": "06:00"}]}, "from: must be a time of day such as \"22:00\", not '22'"),
        ({"quiet_hours": [{"from": "22:00", "to": "24:00"}]}, "to: must be a time of day such as"),
        ({"quiet_hours": [{"from": "22:00", "to": -3}]}, "to: must be a time of day such as"),
        ({"quiet_hours": [{"from": "06:00", "to": "6:00"}]}, "to: must be another time than from, not 6:00"),
        ({"treshold": 0.5}, "unknown field `treshold`"),
    ],
)
def test_a_value_that_cannot_be_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words.replace(".", r"\.")):
        read(**keys)


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (
            {"thresholds": {"Trcuk": 0.7}},
            ["thresholds.Trcuk: is no class of the bundle; it has background, Car, Truck"],
        ),
        (
            {"thresholds": {"Truck": {"seismic+acoustic": 0.7}}},
            [
                "thresholds.Truck.seismic+acoustic: is no pattern of the bundle; "
                "it has acoustic+seismic, acoustic, seismic"
            ],
        ),
        (
            {"thresholds": {"Truck": 0.1}},
            ["thresholds.Truck: 0.1 is not above release_margin 0.15: no track would end"],
        ),
        ({"threshold": 0.15}, ["threshold: 0.15 is not above release_margin 0.15: no track would end"]),
        ({"ignore": ["wind"]}, ["ignore: wind is no class of the bundle; it has background, Car, Truck"]),
        ({"ignore": [*LABELS]}, ["ignore: names every class of the bundle: there would be no events"]),
        (
            {"ignore": ["Car"], "thresholds": {"Car": 0.7}},
            ["thresholds.Car: is never used, since ignore names Car"],
        ),
        (
            {"quiet_hours": [{"from": "22:00", "to": "06:00", "labels": ["Bus"]}]},
            ["quiet_hours.0.labels: Bus is no class of the bundle; it has background, Car, Truck"],
        ),
        (
            {"quiet_hours": [{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "00:00", "labels": ["Car"]}]},
            ["quiet_hours: last the whole day for Car: no such track would ever begin"],
        ),
    ],
)
def test_what_does_not_fit_the_bundle_or_lets_nothing_through_is_told(keys: dict[str, Any], lines: list[str]) -> None:
    assert found(**keys) == lines


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        (QuietHours(begin="22:00", end="06:00"), (1320, 1439, 0, 359), (1319, 360)),
        (QuietHours(begin="09:30", end="17:00"), (570, 1019), (569, 1020, 0)),
        (QuietHours(begin=1320, end="06:00"), (1320, 0), (1319, 360)),
    ],
)
def test_quiet_hours_may_go_over_midnight(hours: QuietHours, inside: tuple[int, ...], outside: tuple[int, ...]) -> None:
    assert all(hours.holds("Car", minute) for minute in inside)
    assert not any(hours.holds("Car", minute) for minute in outside)


def test_quiet_hours_of_one_class_leave_the_others_alone() -> None:
    hours = QuietHours(begin="22:00", end="06:00", labels=("Car",))
    assert (hours.holds("Car", 0), hours.holds("Truck", 0)) == (True, False)


def test_quiet_hours_are_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(quiet_hours=[{"from": "22:00", "to": "06:00"}])
    noon_utc_s = 1_700_000_000 // 86400 * 86400 + 43200.0
    try:
        for zone, quiet in (("UTC0", False), ("FAR-11", True)):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert (settings.quiet("Car", noon_utc_s) is not None) == quiet
    finally:
        monkeypatch.undo()
        time.tzset()
