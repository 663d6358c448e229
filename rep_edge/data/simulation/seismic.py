"""Ground velocity of one run at the geophone: forces on the ground, the way through it, and the site's noise."""

from __future__ import annotations

import numpy as np

from rep_edge.data.simulation.filters import (
    SOUND_SPEED,
    Floats,
    Samples,
    amplitude,
    apply,
    band,
    coloured,
    frequencies,
    ground,
    low_pass,
    resonance,
    ripple,
)
from rep_edge.data.simulation.scene import Scene
from rep_edge.signals import Stream

OVERSAMPLING = 4
CELL_M = 0.04


def record(rng: np.random.Generator, scene: Scene, modality: Stream, starts_s: Floats) -> Samples:
    """Float32 [windows, channels, samples] of the windows starting at `starts_s` (s).

    Forces are made at four times the rate and low-passed before every fourth sample is kept.
    """
    rate, n = OVERSAMPLING * modality.rate_hz, OVERSAMPLING * modality.samples
    f = frequencies(n, rate)
    velocity, q = rng.uniform(150.0, 400.0), rng.uniform(12.0, 40.0)
    site_hz, site_q = rng.uniform(12.0, 35.0), rng.uniform(1.0, 2.5)
    felt = starts_s[:, None] + np.arange(n) / rate
    distance = scene.at(scene.distance, felt)
    acted = felt - distance / velocity
    force = step_force(rng, scene, acted) if scene.vehicle.steps else rolling_force(rng, scene, acted, f)
    if scene.vehicle.engine is not None:
        force = force + engine_force(rng, scene, acted)
    response = ground(f, distance[:, n // 2], velocity, q, site_hz, site_q) * ripple(rng, f, 4.0, 50.0, 5, 4.0)
    shaken = apply((force / np.sqrt(distance)).astype(np.float32), response)
    if scene.vehicle.engine is not None:
        shaken = shaken + coupled_sound(rng, scene, felt, distance)
    shaken = apply(shaken, low_pass(f, 0.42 * modality.rate_hz, 6))[:, ::OVERSAMPLING]
    return _with_noise(rng, scene, shaken, modality)


def rolling_force(rng: np.random.Generator, scene: Scene, acted: Floats, f: Floats) -> Floats:
    """Axles over a rough road with bumps: the rear axle meets what the front one met, wheelbase / speed later.

    The wheel-hop resonance colours the force, the body's bounce modulates it, treads or shoes add their passing rate.
    """
    v = scene.values
    travelled = scene.at(scene.travelled, acted)
    road = _road(rng, scene)
    axles = sum(np.interp(travelled - back, road[0], road[1]) for back in (0.0, v["wheelbase_m"]))
    bounce = 1.0 + v["bounce_depth"] * np.sin(
        2.0 * np.pi * (v["bounce_hz"] * acted + rng.uniform()) + rng.uniform(0, 0.5)
    )
    force = apply((axles * bounce).astype(np.float32), resonance(f, v["hop_hz"], v["hop_q"]))
    total = v["mass"] * force.astype(np.float64)
    if v["lug_m"] > 0:
        phase = 2.0 * np.pi * (travelled / v["lug_m"] + rng.uniform())
        total += (
            v["mass"] * v["lug_force"] * bounce * (np.sin(phase) + 0.5 * np.sin(2.0 * phase + rng.uniform(0.0, 6.0)))
        )
    return np.asarray(total, dtype=np.float64)


def engine_force(rng: np.random.Generator, scene: Scene, acted: Floats) -> Floats:
    """What the engine's unbalanced masses press into the ground, by crank order."""
    engine = scene.vehicle.engine
    assert engine is not None
    cycles = scene.at(scene.cycles, acted)
    force = np.zeros_like(acted)
    for half_order, weight in enumerate(engine.shake, start=1):
        strength = weight * amplitude(rng.uniform(-6.0, 6.0))
        force += strength * np.sin(2.0 * np.pi * (half_order * cycles + rng.uniform()))
    return np.asarray(force * scene.values["mass"] ** 0.5, dtype=np.float64)


def step_force(rng: np.random.Generator, scene: Scene, acted: Floats) -> Floats:
    """Footsteps: the heel's blow, a half sine of 15 to 30 ms, and the softer push-off after it."""
    width = rng.uniform(0.015, 0.03)
    total = np.zeros_like(acted)
    for lag, weight in ((0.0, 1.0), (0.25 / scene.values["bounce_hz"], 0.35)):
        onset = scene.steps_s + lag
        last = np.maximum(np.searchsorted(onset, acted) - 1, 0)
        since = acted - onset[last]
        blow = np.where((since >= 0.0) & (since < width), np.sin(np.pi * since / width), 0.0)
        total += weight * scene.step_strength[last] * blow
    return 40.0 * scene.values["mass"] * total


def coupled_sound(rng: np.random.Generator, scene: Scene, felt: Floats, distance: Floats) -> Samples:
    """The firing tone, carried by the air and pressed into the soil under the geophone."""
    engine = scene.vehicle.engine
    assert engine is not None
    cycles = scene.at(scene.cycles, felt - distance / SOUND_SPEED)
    coupling = 2e-4 * amplitude(rng.uniform(-6.0, 6.0)) * amplitude(scene.engine["level_db"])
    tone = np.zeros_like(felt)
    for n, weight in ((1.0, 1.0), (0.5, scene.engine["imbalance"])):
        tone += weight * np.sin(2.0 * np.pi * (n * len(engine.firing) * cycles + rng.uniform()))
    return np.asarray(coupling * tone / distance, dtype=np.float32)


def _road(rng: np.random.Generator, scene: Scene) -> tuple[Floats, Floats]:
    """Road input over distance in m: roughness, rougher at long waves, and bumps 4 to 20 m apart."""
    start, end = scene.travelled[0] - 10.0, scene.travelled[-1]
    where = np.arange(start, end, CELL_M)
    rough = rng.standard_normal(where.size)
    kernel = np.exp(-np.arange(12) * CELL_M / rng.uniform(0.1, 0.25))
    rough = np.convolve(rough, kernel)[: where.size]
    rough /= rough.std()
    every = rng.uniform(4.0, 20.0)
    height = rng.uniform(2.0, 8.0)
    bumps = rng.random(where.size) < CELL_M / every
    rough += np.convolve(bumps * height * rng.uniform(0.3, 1.0, where.size), np.hanning(7))[3 : where.size + 3]
    return where, rough


def _with_noise(rng: np.random.Generator, scene: Scene, shaken: Samples, modality: Stream) -> Samples:
    """Adds far-off traffic, what wind shakes into the ground and the digitiser's noise; then the digitiser's gain."""
    shape = (shaken.shape[0], modality.channels, shaken.shape[1])
    f = frequencies(modality.samples, modality.rate_hz)
    town = coloured(rng, shape, band(f, rng.uniform(3.0, 12.0), 0.8))
    wind = coloured(rng, shape, (np.maximum(f, 1.0)) ** -0.7)
    white = rng.standard_normal(shape, dtype=np.float32)
    total = shaken[:, None, :].copy()
    levels = (
        rng.uniform(-50.0, -30.0),
        rng.uniform(-52.0, -40.0) + 12.0 * np.log10(1.0 + scene.wind),
        rng.uniform(-55.0, -40.0),
    )
    for noise, level in zip((town, wind, white), levels, strict=True):
        total += noise * np.float32(amplitude(level))
    return np.asarray(total * np.float32(amplitude(rng.uniform(-12.0, 12.0)) * 1e3), dtype=np.float32)
