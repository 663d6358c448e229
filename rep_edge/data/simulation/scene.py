"""What both sensors share in one run: course, speed, revolutions and steps, drawn once, as functions of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rep_edge.data.simulation.classes import Range, Vehicle
from rep_edge.data.simulation.filters import Floats

GRID_HZ = 50.0
MARGIN_S = 3.0


@dataclass(frozen=True)
class Scene:
    """One run. Arrays are on `times` (s, 50 Hz, starting before the first window by more than any travel time).

    distance: m to the sensors; speed: m/s; travelled: m; cycles: engine cycles turned (two revolutions each).
    values: the class's ranges, drawn, by field name; steps_s, step_strength: when footsteps fall and how hard.
    wind: m/s.
    """

    vehicle: Vehicle
    times: Floats
    distance: Floats
    speed: Floats
    travelled: Floats
    cycles: Floats
    rpm_max: float
    values: dict[str, float]
    engine: dict[str, float]
    steps_s: Floats
    step_strength: Floats
    wind: float

    def at(self, track: Floats, times: Floats) -> Floats:
        """A track's values at `times` (any shape)."""
        return np.interp(times, self.times, track)


def draw(rng: np.random.Generator, bounds: Range) -> float:
    """A value between the bounds."""
    return float(rng.uniform(*bounds))


def draw_scene(rng: np.random.Generator, vehicle: Vehicle, duration_s: float) -> Scene:
    """One run of `duration_s` seconds. The draws do not depend on the duration, but for the footsteps after it."""
    times = np.arange(-MARGIN_S, duration_s + 1.0, 1.0 / GRID_HZ)
    values = {
        k: draw(rng, v)
        for k, v in vehicle._asdict().items()
        if isinstance(v, tuple) and k not in ("engine", "whine_orders")
    }
    engine = {}
    if vehicle.engine is not None:
        ranges = {k: v for k, v in vehicle.engine._asdict().items() if k not in ("firing", "shake")}
        engine = {k: draw(rng, v) for k, v in ranges.items()}
    speed = values["speed"] * (1.0 + _wander(rng, times, 0.02, 0.15, 0.2))
    travelled = np.cumsum(speed) / GRID_HZ
    distance = _course(rng, travelled, values["clearance"])
    rpm = np.zeros_like(times)
    if engine:
        throttle = 1.0 + _wander(rng, times, 0.05, 0.4, 0.06)
        rpm = (engine["rpm"] + engine["rpm_per_speed"] * speed) * throttle
    steps_s, strength = _steps(rng, values["bounce_hz"], duration_s) if vehicle.steps else (np.zeros(0), np.zeros(0))
    return Scene(
        vehicle=vehicle,
        times=times,
        distance=distance,
        speed=speed,
        travelled=travelled,
        cycles=np.cumsum(rpm) / (120.0 * GRID_HZ),
        rpm_max=float(rpm.max()),
        values=values,
        engine=engine,
        steps_s=steps_s,
        step_strength=strength,
        wind=float(rng.weibull(2.0) * 3.0),
    )


def _wander(rng: np.random.Generator, times: Floats, slow_hz: float, fast_hz: float, depth: float) -> Floats:
    """A smooth random course around 0 with standard deviation about `depth`, bounded by 2.5 depth."""
    f = rng.uniform(slow_hz, fast_hz, 4)
    phase = rng.uniform(0.0, 2.0 * np.pi, 4)
    waves = np.sin(2.0 * np.pi * f[:, None] * times + phase[:, None]).sum(axis=0)
    return np.asarray(depth * waves / np.sqrt(2.0), dtype=np.float64).clip(-2.5 * depth, 2.5 * depth)


def _course(rng: np.random.Generator, travelled: Floats, clearance: float) -> Floats:
    """Distance to a sensor beside an oval of 60 to 200 m that the subject goes round."""
    length = rng.uniform(1.0, 3.0) * 6.0 * clearance + 40.0
    flat = rng.uniform(0.25, 0.6)
    along = length / (2.0 * np.pi)
    angle = 2.0 * np.pi * (travelled / length + rng.uniform())
    x = 1.4 * along * np.sin(angle)
    y = clearance + 1.4 * flat * along * (1.0 - np.cos(angle))
    return np.hypot(x, y)


def _steps(rng: np.random.Generator, cadence_hz: float, duration_s: float) -> tuple[Floats, Floats]:
    """Times and strengths of footsteps: a steady cadence with 3 % jitter, the feet not quite alike."""
    n = int((duration_s + 2.0 * MARGIN_S) * cadence_hz) + 2
    limp, uneven = rng.uniform(-0.04, 0.04), rng.uniform(0.0, 0.25)
    odd = np.arange(n) % 2
    jitter = rng.standard_normal((n, 2))
    gaps = (1.0 + limp * (2 * odd - 1) + 0.03 * jitter[:, 0]) / cadence_hz
    strength = (1.0 - uneven * odd) * np.exp(0.15 * jitter[:, 1])
    return -MARGIN_S + np.cumsum(gaps), np.asarray(strength, dtype=np.float64)
