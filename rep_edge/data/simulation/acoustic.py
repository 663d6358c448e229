"""Sound of one run at the microphone: sources, the way through the air, wind and the recorder's own noise."""

from __future__ import annotations

import numpy as np

from rep_edge.data.simulation.filters import (
    SOUND_SPEED,
    Floats,
    Samples,
    air,
    amplitude,
    apply,
    band,
    coloured,
    frequencies,
    high_pass,
    low_pass,
    resonance,
    ripple,
)
from rep_edge.data.simulation.scene import Scene
from rep_edge.signals import Stream

TABLE = 8192


def record(rng: np.random.Generator, scene: Scene, modality: Stream, starts_s: Floats) -> Samples:
    """Float32 [windows, channels, samples] of the windows starting at `starts_s` (s)."""
    f = frequencies(modality.samples, modality.rate_hz)
    heard = starts_s[:, None] + np.arange(modality.samples) / modality.rate_hz
    distance = scene.at(scene.distance, heard)
    emitted = heard - distance / SOUND_SPEED
    shape = emitted.shape
    speed = scene.at(scene.speed, starts_s)[:, None] * np.ones((1, 1))
    source: Samples = np.zeros(shape, dtype=np.float32)
    if scene.vehicle.engine is not None:
        source += engine_sound(rng, scene, emitted, f, modality.rate_hz)
    if scene.vehicle.steps:
        source += step_sound(rng, scene, heard, distance, f)
    else:
        source += rolling_sound(rng, scene, emitted, f, speed)
    heights = (rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.6))
    middle = distance[:, shape[1] // 2]
    path = air(f, middle, heights, rng.uniform(0.2, 0.7)) * _microphone(rng, f)
    spread = np.asarray(source / distance.astype(np.float32), dtype=np.float32)
    pressure = apply(spread, path)
    return _with_noise(rng, scene, pressure, modality, heard, f)


def cycle_table(rng: np.random.Generator, scene: Scene, orders: int) -> Samples:
    """One engine cycle of exhaust pressure, float32 [TABLE], unit variance: a pulse per firing, half orders 1..orders.

    Cylinders differ by the drawn imbalance, which fills the orders between the multiples of the firing order.
    """
    engine = scene.vehicle.engine
    assert engine is not None
    k = np.arange(TABLE // 2 + 1)
    strength = 1.0 + scene.engine["imbalance"] * rng.standard_normal(8)[: len(engine.firing)]
    spacing = 1.0 / len(engine.firing)
    pulses = sum(s * np.exp(-2j * np.pi * k * a) for s, a in zip(strength, engine.firing, strict=True))
    width = rng.uniform(0.12, 0.25) * spacing
    spectrum = pulses / (1.0 + 2j * np.pi * k * width) * (k > 0) * (k <= orders)
    table = np.fft.irfft(spectrum, TABLE)
    return np.asarray(table / table.std(), dtype=np.float32)


def turn(table: Samples, phase: Floats) -> Samples:
    """The table's values at `phase` (in turns of the table)."""
    index = (phase * len(table)).astype(np.int64) % len(table)
    return table[index]


def engine_sound(rng: np.random.Generator, scene: Scene, emitted: Floats, f: Floats, rate_hz: float) -> Samples:
    """Exhaust pulses over the turning crank, coloured by pipe and muffler, and the broadband clatter they gate."""
    orders = max(1, int(0.45 * rate_hz / (scene.rpm_max / 120.0)))
    cycles = scene.at(scene.cycles, emitted)
    uneven = np.exp(0.1 * rng.standard_normal(4096)).astype(np.float32)
    tone = turn(cycle_table(rng, scene, orders), cycles) * uneven[cycles.astype(np.int64) % 4096]
    pipe = SOUND_SPEED / (4.0 * scene.engine["pipe_m"])
    colour = low_pass(f, scene.engine["muffler_hz"], 1)
    for n in range(4):
        colour = colour * (
            1.0 + 0.6 * (resonance(f, (2 * n + 1) * pipe, rng.uniform(2.0, 5.0)) - low_pass(f, (2 * n + 1) * pipe, 2))
        )
    clatter = coloured(rng, emitted.shape, band(f, rng.uniform(900.0, 2000.0), 0.8)) * (1.0 + 0.5 * tone)
    level = amplitude(scene.engine["level_db"])
    exhaust = apply(level * tone, colour)
    return np.asarray(exhaust + np.float32(0.1 * level * rng.uniform(0.3, 1.0)) * clatter, dtype=np.float32)


def rolling_sound(rng: np.random.Generator, scene: Scene, emitted: Floats, f: Floats, speed: Floats) -> Samples:
    """Tyres (30 dB per decade of speed), treads or shoes, and the tones of an electric drive."""
    v = scene.values
    colour = band(f, v["tyre_hz"], rng.uniform(0.8, 1.3))
    level = amplitude(v["tyre_db"]) * (speed / 10.0) ** 1.5
    sound = (coloured(rng, emitted.shape, colour) * level).astype(np.float32)
    travelled = scene.at(scene.travelled, emitted)
    if v["lug_m"] > 0:
        shoe = _harmonics(rng, 24, 0.9)
        sound += np.float32(amplitude(v["lug_db"])) * turn(shoe, travelled / v["lug_m"])
    wheel = travelled / (2.0 * np.pi * 0.34)
    for order in scene.vehicle.whine_orders:
        tone = np.sin((2.0 * np.pi * (order * wheel + rng.uniform())) % (2.0 * np.pi)).astype(np.float32)
        sound += np.float32(amplitude(v["whine_db"] + rng.uniform(-8.0, 4.0))) * tone
    return sound


def step_sound(rng: np.random.Generator, scene: Scene, heard: Floats, distance: Floats, f: Floats) -> Samples:
    """Footsteps: a burst of crunching noise for each heel and, 0.1 s later, each ball of the foot."""
    hard = rng.uniform(0.0, 1.0)
    crunch = coloured(rng, heard.shape, band(f, rng.uniform(600.0, 1800.0), 0.9))
    decay = rng.uniform(0.015, 0.05)
    envelope = step_envelope(scene, heard - distance / SOUND_SPEED, decay)
    rustle = coloured(rng, heard.shape, band(f, 2500.0, 0.5)) * np.float32(0.05)
    level = amplitude(rng.uniform(46.0, 58.0) + 6.0 * hard)
    return np.asarray(np.float32(level) * (crunch * envelope + rustle), dtype=np.float32)


def step_envelope(scene: Scene, times: Floats, decay_s: float) -> Samples:
    """Sum of decaying bursts at the steps' times, [windows, samples]; two a step, 0.11 s apart."""
    total = np.zeros(times.shape, dtype=np.float32)
    for lag, weight in ((0.0, 1.0), (0.11, 0.5)):
        onset = scene.steps_s + lag
        last = np.searchsorted(onset, times) - 1
        since = times - onset[np.maximum(last, 0)]
        burst = weight * scene.step_strength[np.maximum(last, 0)] * np.exp(-since / decay_s)
        total += np.where(last >= 0, burst, 0.0).astype(np.float32)
    return total


def _harmonics(rng: np.random.Generator, n: int, fall: float) -> Samples:
    k = np.arange(TABLE // 2 + 1)
    spectrum = np.where((k > 0) & (k <= n), fall**k, 0.0) * np.exp(2j * np.pi * rng.uniform(size=k.size))
    table = np.fft.irfft(spectrum, TABLE)
    return np.asarray(table / table.std(), dtype=np.float32)


def _microphone(rng: np.random.Generator, f: Floats) -> Floats:
    """The microphone in its case: a corner at the low end and a broad tilt."""
    tilt = (np.maximum(f, 20.0) / 500.0) ** rng.uniform(-0.3, 0.3)
    return high_pass(f, rng.uniform(15.0, 40.0), 1) * tilt * ripple(rng, f, 60.0, 3500.0, 7, 6.0)


def _with_noise(
    rng: np.random.Generator, scene: Scene, pressure: Samples, modality: Stream, heard: Floats, f: Floats
) -> Samples:
    """Adds wind, far-off traffic, hum at times and the recorder's noise; then the recorder's gain."""
    shape = (pressure.shape[0], modality.channels, pressure.shape[1])
    gusts = rng.uniform(0.05, 0.5, 3)
    gusting = 1.0 + 0.35 * sum(np.sin(2.0 * np.pi * (g * heard + rng.uniform())) for g in gusts)
    wind = coloured(rng, shape, (np.maximum(f, 8.0) / 8.0) ** (-5.0 / 3.0)) * np.abs(gusting[:, None, :]).astype(
        np.float32
    )
    leaves = coloured(rng, shape, band(f, rng.uniform(1500.0, 3500.0), 1.0))
    town = coloured(rng, shape, band(f, rng.uniform(60.0, 200.0), 1.2))
    white = rng.standard_normal(shape, dtype=np.float32)
    levels = (
        rng.uniform(24.0, 34.0) + 25.0 * np.log10(1.0 + scene.wind),
        rng.uniform(8.0, 20.0) + 12.0 * np.log10(1.0 + scene.wind),
        rng.uniform(18.0, 32.0),
        rng.uniform(4.0, 16.0),
    )
    total = pressure[:, None, :].copy()
    for noise, level in zip((wind, leaves, town, white), levels, strict=True):
        total += noise * np.float32(amplitude(level))
    mains, hum_level, phase = rng.choice([50.0, 60.0]), rng.uniform(20.0, 40.0), rng.uniform(size=4)
    if rng.uniform() < 0.15:
        hum = sum(np.sin(2.0 * np.pi * ((n + 1) * mains * heard + phase[n])) / (n + 1) for n in range(4))
        total += (amplitude(hum_level) * hum)[:, None, :].astype(np.float32)
    gain = amplitude(rng.uniform(-12.0, 12.0)) * 1e-5
    return np.asarray(total * np.float32(gain), dtype=np.float32)
