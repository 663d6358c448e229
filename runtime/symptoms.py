"""What is wrong with one window of a stream: the first symptom found, in the order in which they make others moot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.figures import Figures, clipped_share, figures, longest_run
from rep_edge.runtime.health import HealthLimits, Symptom
from rep_edge.runtime.manifest import HealthRecord, Manifest
from rep_edge.runtime.streams import Cut
from rep_edge.signals import Stream

STUCK_S = 0.5
CLIPPED = 0.1
LARGEST = 1e12
"""No sensor delivers more, in whatever unit."""
LOUDER = 100.0
"""No event is so much louder than all of training; a broken converter is."""
MORE_SEEN = 2.0
"""What training itself had of stuck and clipped samples is allowed so many times over."""


class Limits(NamedTuple):
    """The limits of one stream, settings and bundle taken together, in the units of HealthLimits and HealthRecord.

    settings: those that they were made of, which say how long a symptom must last.
    """

    settings: HealthLimits
    stuck_s: float
    clipped: float
    largest: float
    noise_low: float = 0.0
    noise_high: float = math.inf
    mean_low: float = -math.inf
    mean_high: float = math.inf


class Examined(NamedTuple):
    """A window that was looked at. level: RMS of the loudest channel, None where samples are missing or no numbers."""

    symptom: Symptom | None
    level: float | None


def limits_of(manifest: Manifest, settings: HealthLimits) -> dict[str, Limits]:
    """Modality -> its limits: what the settings say, else what the bundle saw in training, else the defaults."""
    return {name: _limits(settings, manifest.health.get(name)) for name in manifest.spec.names}


def _limits(settings: HealthLimits, seen: HealthRecord | None) -> Limits:
    stuck_s, clipped, largest = STUCK_S, CLIPPED, LARGEST
    if seen is not None:
        stuck_s, clipped = max(stuck_s, MORE_SEEN * seen.stuck_s), max(clipped, MORE_SEEN * seen.clipped)
        largest = LOUDER * seen.largest
    chosen = Limits(
        settings=settings,
        stuck_s=stuck_s if settings.stuck_s is None else settings.stuck_s,
        clipped=clipped if settings.clipped is None else settings.clipped,
        largest=largest if settings.largest is None else settings.largest,
    )
    if seen is None:
        return chosen
    way = settings.margin * max(seen.mean_high - seen.mean_low, seen.noise_high)
    return chosen._replace(
        noise_low=seen.noise_low / settings.margin,
        noise_high=seen.noise_high * settings.margin,
        mean_low=seen.mean_low - way,
        mean_high=seen.mean_high + way,
    )


def examine(modality: Stream, cut: Cut, limits: Limits, seen_hz: float | None = None) -> Examined:
    """Look for what is wrong with a window; hard symptoms come before soft ones.

    seen_hz: samples that came each second lately, None where that is not known. A symptom of one channel is one of the
    stream.
    """
    missing = _missing(modality, cut)
    if missing is not None:
        return Examined(missing, None)
    channels: list[Figures] = []
    for x in cut.values:
        found = figures(x)
        if found is None:
            return Examined(Symptom("not_finite", "samples that are no numbers", True), None)
        channels.append(found)
    for x, found in zip(cut.values, channels, strict=True):
        hard = _unusable(x, found, modality, limits)
        if hard is not None:
            return Examined(hard, max(channel.level for channel in channels))
    soft = _off_rate(modality, limits, seen_hz) or _strange(channels, modality, limits)
    return Examined(soft, max(channel.level for channel in channels))


def _missing(modality: Stream, cut: Cut) -> Symptom | None:
    if not cut.begun:
        return Symptom("no_samples", "no samples yet", True)
    if cut.silent:
        return Symptom("no_samples", f"no samples for {_seconds(cut.silent, modality)}", True)
    if cut.received < modality.samples:
        told = f"{_seconds(cut.received, modality)} of {_seconds(modality.samples, modality)} received"
        return Symptom("gap", told, True)
    return None


def _unusable(x: NDArray[np.float32], found: Figures, modality: Stream, limits: Limits) -> Symptom | None:
    """What makes the samples of a channel worthless."""
    largest = max(-found.lowest, found.highest)
    if largest > limits.largest:
        return Symptom("too_large", f"samples as large as {largest:.1g}", True)
    if found.lowest == found.highest:
        return Symptom("flat", f"flat at {found.lowest:g}", True)
    run = longest_run(x)
    if run > limits.stuck_s * modality.rate_hz:
        return Symptom("stuck", f"stuck at one value for {_seconds(run, modality)}", True)
    share = clipped_share(x, found.lowest, found.highest, limits.clipped)
    if share:
        return Symptom("clipped", f"clipped, {100 * share:.0f} % of its samples at the limit", True)
    return None


def _off_rate(modality: Stream, limits: Limits, seen_hz: float | None) -> Symptom | None:
    if seen_hz is None or abs(seen_hz / modality.rate_hz - 1) <= limits.settings.rate:
        return None
    return Symptom("rate", f"{seen_hz:.4g} samples a second instead of {modality.rate_hz:.4g}", False)


def _strange(channels: Sequence[Figures], modality: Stream, limits: Limits) -> Symptom | None:
    """What training never saw the like of, though the samples may be right: a quiet night, a sensor of another make."""
    unit = modality.unit
    for found in channels:
        if not limits.mean_low <= found.mean <= limits.mean_high:
            told = f"mean {found.mean:.3g} {unit}, not within {limits.mean_low:.3g} to {limits.mean_high:.3g}"
            return Symptom("dc_drift", told, False)
        if found.floor < limits.noise_low:
            return Symptom("noise_low", f"noise of {found.floor:.2g} {unit}, below {limits.noise_low:.2g}", False)
        if found.floor > limits.noise_high:
            return Symptom("noise_high", f"noise of {found.floor:.2g} {unit}, above {limits.noise_high:.2g}", False)
    return None


def _seconds(samples: int, modality: Stream) -> str:
    seconds = samples / modality.rate_hz
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{1e3 * seconds:.2g} ms"
