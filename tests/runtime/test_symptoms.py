"""A window is healthy or has one named symptom."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundles import ACOUSTIC, MAGNETIC, PAIR, make_bundle
from numpy.typing import NDArray

from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.health import HealthLimits, Symptom
from rep_edge.runtime.manifest import HealthRecord, Manifest
from rep_edge.runtime.streams import Cut
from rep_edge.runtime.symptoms import Limits, examine, limits_of
from rep_edge.signals import Stream

SEEN = HealthRecord(
    windows=100, noise_low=0.5, noise_high=2.0, mean_low=-0.1, mean_high=0.1, largest=10.0, clipped=0.0, stuck_s=0.0
)
DEFAULTS = Limits(HealthLimits(), stuck_s=0.5, clipped=0.1, largest=1e12)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return open_bundle(make_bundle(tmp_path_factory.mktemp("pair") / "bundle")).manifest


def limits(manifest: Manifest, seen: HealthRecord | None, settings: HealthLimits | None = None) -> Limits:
    """Of the acoustic stream."""
    health = {} if seen is None else {"acoustic": seen}
    made = limits_of(msgspec.structs.replace(manifest, health=health), settings or HealthLimits())
    assert set(made) == set(PAIR.names)
    return made["acoustic"]


def noise(modality: Stream = ACOUSTIC) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(modality.shape).astype(np.float32)


def found(
    values: NDArray[np.float32], modality: Stream = ACOUSTIC, limits: Limits = DEFAULTS, seen_hz: float | None = None
) -> Symptom | None:
    return examine(modality, Cut(values.astype(np.float32), modality.samples, 0, True), limits, seen_hz).symptom


def told(values: NDArray[np.float32], modality: Stream = ACOUSTIC) -> str | None:
    """The words of a hard symptom."""
    symptom = found(values, modality)
    assert symptom is None or symptom.hard
    return None if symptom is None else symptom.told


def test_noise_is_healthy() -> None:
    assert told(noise()) is None
    assert told(noise(MAGNETIC), MAGNETIC) is None


def test_samples_that_did_not_come() -> None:
    window = np.zeros(ACOUSTIC.shape, np.float32)

    def missing(*cut: int, begun: bool = True) -> Symptom | None:
        return examine(ACOUSTIC, Cut(window, *cut, begun), DEFAULTS).symptom

    assert missing(0, 800, begun=False) == Symptom("no_samples", "no samples yet", True)
    assert missing(400, 400) == Symptom("no_samples", "no samples for 0.5 s", True)
    assert missing(792, 8) == Symptom("no_samples", "no samples for 10 ms", True)
    assert missing(600, 0) == Symptom("gap", "0.8 s of 1.0 s received", True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number(value: float) -> None:
    x = noise()
    x[0, 400] = value
    assert found(x) == Symptom("not_finite", "samples that are no numbers", True)


def test_a_sample_that_no_sensor_delivers() -> None:
    x = noise()
    x[0, 3] = -3e20
    assert found(x) == Symptom("too_large", "samples as large as 3e+20", True)


def test_a_flat_line() -> None:
    assert found(np.full(ACOUSTIC.shape, 0.25)) == Symptom("flat", "flat at 0.25", True)


def test_a_stuck_sensor() -> None:
    x = noise()
    x[0, 100:501] = x[0, 100]
    assert found(x) == Symptom("stuck", "stuck at one value for 0.5 s", True)
    x[0, 300] = 0.0
    assert found(x) is None


def test_a_symptom_of_one_channel_is_one_of_the_stream() -> None:
    x = noise(MAGNETIC)
    x[2] = 7
    assert told(x, MAGNETIC) == "flat at 7"


@pytest.mark.parametrize("rails", [(-0.5, 0.5), (-9.0, 0.5), (-0.5, 9.0), (-0.01, 0.01)])
def test_clipping(rails: tuple[float, float]) -> None:
    symptom = found(np.clip(noise(), *rails))
    assert symptom is not None
    assert (symptom.reason, symptom.hard) == ("clipped", True)
    assert symptom.told.startswith("clipped, ")


def test_a_few_clipped_samples_are_forgiven() -> None:
    assert told(np.clip(noise(), -1.7, 1.7)) is None


def test_a_coarse_converter_is_not_clipped() -> None:
    assert told(np.round(noise())) is None
    assert told(np.round(0.6 * noise())) is None


def test_a_pure_tone_is_healthy() -> None:
    for hz in (1.7, 50, 100, 133):
        t = np.arange(ACOUSTIC.samples) / ACOUSTIC.rate_hz
        assert told(np.sin(2 * np.pi * hz * t + 0.3)[None]) is None, hz


@pytest.mark.parametrize(
    ("change", "symptom"),
    [
        (lambda x: x, None),
        (lambda x: 0.2 * x, None),
        (lambda x: 0.05 * x, Symptom("noise_low", "noise of 0.047 full scale, below 0.12", False)),
        (lambda x: 20 * x, Symptom("noise_high", "noise of 19 full scale, above 8", False)),
        (lambda x: x + 7, None),
        (lambda x: x + 9, Symptom("dc_drift", "mean 8.97 full scale, not within -8.1 to 8.1", False)),
        (lambda x: 500 * x, Symptom("too_large", "samples as large as 2e+03", True)),
    ],
)
def test_what_training_never_saw_the_like_of(manifest: Manifest, change: object, symptom: Symptom | None) -> None:
    assert callable(change)
    assert found(change(noise()), limits=limits(manifest, SEEN)) == symptom


def test_a_rate_that_is_off() -> None:
    assert found(noise(), seen_hz=None) is None
    assert found(noise(), seen_hz=801.0) is None
    symptom = Symptom("rate", "735 samples a second instead of 800", False)
    assert found(noise(), seen_hz=735.0) == symptom
    assert told(np.full(ACOUSTIC.shape, 0.25)) == "flat at 0.25", "what is hard comes first"


def test_the_level_is_that_of_the_loudest_channel() -> None:
    x = noise(MAGNETIC)
    x[1] *= 5
    examined = examine(MAGNETIC, Cut(x + 100, 50, 0, True), DEFAULTS)
    assert examined.level == pytest.approx(x[1].std(), rel=0.05)
    assert examine(MAGNETIC, Cut(x, 40, 10, True), DEFAULTS).level is None


def test_settings_go_before_the_bundle_and_the_bundle_before_the_defaults(manifest: Manifest) -> None:
    assert limits(manifest, None) == DEFAULTS
    seen = msgspec.structs.replace(SEEN, clipped=0.2, stuck_s=0.4)
    made = limits(manifest, seen)
    assert (made.clipped, made.stuck_s, made.largest) == (0.4, 0.8, 1000.0)
    assert (made.noise_low, made.noise_high, made.mean_low, made.mean_high) == (0.125, 8.0, -8.1, 8.1)
    settings = HealthLimits(clipped=0.3, stuck_s=0.2, largest=5.0, margin=2.0)
    made = limits(manifest, seen, settings)
    assert (made.clipped, made.stuck_s, made.largest, made.noise_high) == (0.3, 0.2, 5.0, 4.0)


def test_a_bundle_without_records_opens(tmp_path: Path) -> None:
    assert open_bundle(make_bundle(tmp_path / "bundle")).manifest.health == {}
