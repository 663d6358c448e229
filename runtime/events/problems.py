"""What in the configuration of events cannot be meant, in view of a bundle's classes and patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rep_edge.runtime.events.track_settings import BACKGROUND, TrackSettings

DAY = range(24 * 60)
"""Minutes."""


def problems(settings: TrackSettings, labels: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """One line for each, beginning with the key: names that the bundle lacks, and filters that let nothing through."""
    return [
        *_unknown_names(settings, labels, patterns),
        *_never_ending(settings),
        *_never_beginning(settings, labels),
    ]


def _unknown_names(settings: TrackSettings, labels: Sequence[str], patterns: Sequence[str]) -> Iterable[str]:
    classes = f"is no class of the bundle; it has {', '.join(labels)}"
    for label, own in settings.thresholds.items():
        if label not in labels:
            yield f"thresholds.{label}: {classes}"
        for pattern in own if isinstance(own, dict) else ():
            if pattern not in patterns:
                yield f"thresholds.{label}.{pattern}: is no pattern of the bundle; it has {', '.join(patterns)}"
    # The default names a class that not every bundle has.
    yield from (f"ignore: {label} {classes}" for label in settings.ignore if label not in (*labels, BACKGROUND))
    for number, hours in enumerate(settings.quiet_hours):
        yield from (f"quiet_hours.{number}.labels: {label} {classes}" for label in hours.labels if label not in labels)


def _never_ending(settings: TrackSettings) -> Iterable[str]:
    for key, threshold in settings.each_threshold().items():
        if threshold <= settings.release_margin:
            yield f"{key}: {threshold:g} is not above release_margin {settings.release_margin:g}: no track would end"


def _never_beginning(settings: TrackSettings, labels: Sequence[str]) -> Iterable[str]:
    heard = [label for label in labels if label not in settings.ignore]
    if not heard:
        yield "ignore: names every class of the bundle: there would be no events"
    for label in settings.thresholds:
        if label in settings.ignore:
            yield f"thresholds.{label}: is never used, since ignore names {label}"
    silent = [
        label
        for label in heard
        if all(any(hours.holds(label, minute) for hours in settings.quiet_hours) for minute in DAY)
    ]
    if silent:
        yield f"quiet_hours: last the whole day for {', '.join(silent)}: no such track would ever begin"
