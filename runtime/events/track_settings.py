"""When a class that is heard becomes a track: the configuration's section `events`."""

from __future__ import annotations

import math
import re
import time

import msgspec

BACKGROUND = "background"
"""The class of windows in which nothing of interest is heard, where a model has one."""


class QuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the day, in local time, in which no track begins.

    from, to: "22:00" and "06:00"; to is not in it, and may lie on the next day. YAML reads 22:00 without quotes as the
    number 1320, its minutes, which is taken too. labels: the classes that it holds for; none named: all.
    """

    begin: str | int = msgspec.field(name="from")
    end: str | int = msgspec.field(name="to")
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if minutes("from", self.begin) == minutes("to", self.end):
            raise ValueError(f"to: must be another time than from, not {self.end}")

    def holds(self, label: str, minute: int) -> bool:
        """Whether no track of the class begins in this minute of the day."""
        begin, end = minutes("from", self.begin), minutes("to", self.end)
        inside = begin <= minute < end if begin < end else minute >= begin or minute < end
        return inside and (not self.labels or label in self.labels)

    def __str__(self) -> str:
        return "-".join(f"{m // 60:02d}:{m % 60:02d}" for m in (minutes("from", self.begin), minutes("to", self.end)))


def minutes(key: str, told: str | int) -> int:
    """Minute of the day, 0 to 1439. Raises ValueError that begins with the key."""
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", told) if isinstance(told, str) else None
    hour, minute = map(int, found.groups()) if found else divmod(told if isinstance(told, int) else -1, 60)
    if not (0 <= hour < 24 and 0 <= minute < 60):
        raise ValueError(f'{key}: must be a time of day such as "22:00", not {told!r}')
    return hour * 60 + minute


class TrackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a track begins, goes on and ends. Windows are those in which some stream was live.

    smoothing_windows: time constant of the smoothed probabilities; 0: none.
    threshold: the smoothed probability from which on a class counts as heard. thresholds: others for single classes,
    and for single patterns of live modalities: {Truck: 0.7, Walk: {acoustic: 0.8, acoustic+seismic: 0.6}}.
    onset_windows, onset_of: a track begins where its class was heard in so many of the latest so many windows.
    release_margin: a track goes on while its class is at most this far below the threshold.
    end_windows: it ends with so many windows in a row that are further below.
    min_duration_s: its onset is told once it has lasted so long; one that ends before is never told.
    update_every_s: from one message about a track that goes on to the next.
    hold_s: where no stream is live a track goes on for so long; then it ends and smoothing begins anew.
    ignore: classes that give no events. quiet_hours: parts of the day in which no track begins.
    """

    smoothing_windows: float = 2.0
    threshold: float = 0.6
    thresholds: dict[str, float | dict[str, float]] = {}
    onset_windows: int = 2
    onset_of: int = 3
    release_margin: float = 0.15
    end_windows: int = 3
    min_duration_s: float = 0.0
    update_every_s: float = 10.0
    hold_s: float = 5.0
    ignore: tuple[str, ...] = (BACKGROUND,)
    quiet_hours: tuple[QuietHours, ...] = ()

    def __post_init__(self) -> None:
        for key, value in self.each_threshold().items():
            if not 0 < value < 1:
                raise ValueError(f"{key}: must be above 0 and below 1, not {value:g}")
        for key in ("smoothing_windows", "release_margin", "min_duration_s", "hold_s"):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) >= 0):
                raise ValueError(f"{key}: must be at least 0, not {getattr(self, key):g}")
        if not (math.isfinite(self.update_every_s) and self.update_every_s > 0):
            raise ValueError(f"update_every_s: must be above 0, not {self.update_every_s:g}")
        for key in ("onset_windows", "end_windows"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: must be at least 1, not {getattr(self, key)}")
        if self.onset_windows > self.onset_of:
            raise ValueError(f"onset_windows: {self.onset_windows} of {self.onset_of} can never be; raise onset_of")

    def each_threshold(self) -> dict[str, float]:
        """Key, as it is found in the configuration, to every threshold."""
        found = {"threshold": self.threshold}
        for label, own in self.thresholds.items():
            if isinstance(own, dict):
                found |= {f"thresholds.{label}.{pattern}": value for pattern, value in own.items()}
            else:
                found[f"thresholds.{label}"] = own
        return found

    def threshold_of(self, label: str, pattern: str) -> float:
        """The threshold of a class while these modalities are live."""
        own = self.thresholds.get(label, self.threshold)
        return own.get(pattern, self.threshold) if isinstance(own, dict) else own

    def quiet(self, label: str, wall_s: float) -> QuietHours | None:
        """The quiet hours that hold for the class at a time in s since 1970, or None."""
        local = time.localtime(wall_s)
        minute = local.tm_hour * 60 + local.tm_min
        return next((hours for hours in self.quiet_hours if hours.holds(label, minute)), None)
