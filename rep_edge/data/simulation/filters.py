"""Transfer functions over frequency: air, ground, resonances, noise colours; and the one way to apply them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Samples = NDArray[np.float32]

SOUND_SPEED = 343.0
"""m/s."""


def frequencies(samples: int, rate_hz: float) -> Floats:
    """Frequencies of a one-sided spectrum in Hz, [samples // 2 + 1]."""
    return np.asarray(np.fft.rfftfreq(samples, 1.0 / rate_hz), dtype=np.float64)


def low_pass(f: Floats, corner_hz: float, order: int = 2) -> Floats:
    """Magnitude of a Butterworth-like low-pass."""
    return 1.0 / np.sqrt(1.0 + (f / corner_hz) ** (2 * order))


def high_pass(f: Floats, corner_hz: float, order: int = 2) -> Floats:
    """Magnitude of a Butterworth-like high-pass."""
    x = np.maximum(f, 1e-6) / corner_hz
    return 1.0 / np.sqrt(1.0 + x ** (-2 * order))


def band(f: Floats, centre_hz: float, octaves: float) -> Floats:
    """A smooth hump: Gaussian over the logarithm of frequency, `octaves` its standard deviation."""
    return np.exp(-0.5 * (np.log2(np.maximum(f, 1e-3) / centre_hz) / octaves) ** 2)


def resonance(f: Floats, centre_hz: float, q: float) -> Floats:
    """Magnitude of an oscillator driven at frequency f: 1 below, q at, falling above the resonance."""
    x = f / centre_hz
    return 1.0 / np.sqrt((1.0 - x**2) ** 2 + (x / q) ** 2)


def air(f: Floats, distance_m: Floats, height_m: tuple[float, float], softness: float) -> Complexes:
    """From 1 m to the microphone, [windows, bins]: absorption and the reflection from the ground.

    distance_m: [windows]; the spreading 1 / r is left to the time signal. height_m: source, microphone.
    Absorption follows 6e-10 f^2 + 4e-7 f nepers per m. The reflected ray is longer by about 2 hs hm / r and comes back
    with 1 - softness of its pressure, less at high frequencies.
    """
    r = distance_m[:, None]
    absorbed = np.exp(-(6e-10 * f**2 + 4e-7 * f) * r)
    detour = np.sqrt(r**2 + (height_m[0] + height_m[1]) ** 2) - np.sqrt(r**2 + (height_m[0] - height_m[1]) ** 2)
    reflected = (1.0 - softness) * low_pass(f, 1500.0, 1) * np.exp(-2j * np.pi * f * detour / SOUND_SPEED)
    return np.asarray(absorbed * (1.0 + reflected), dtype=np.complex128)


def ground(f: Floats, distance_m: Floats, velocity: float, q: float, site_hz: float, site_q: float) -> Floats:
    """From a force to ground velocity, [windows, bins]: anelastic loss exp(-pi f r / (Q c)) and the site's resonance.

    The spreading 1 / sqrt(r) of surface waves is left to the time signal.
    """
    loss = np.exp(-np.pi * f * distance_m[:, None] / (q * velocity))
    return np.asarray(loss * resonance(f, site_hz, site_q) * high_pass(f, 4.5), dtype=np.float64)


def ripple(rng: np.random.Generator, f: Floats, low_hz: float, high_hz: float, humps: int, depth_db: float) -> Floats:
    """A smooth random response: humps and dips of `depth_db` (standard deviation), spread over the octaves between."""
    centres = np.geomspace(low_hz, high_hz, humps) * np.exp(rng.uniform(-0.3, 0.3, humps))
    heights = depth_db * rng.standard_normal(humps)
    octaves = np.log2(high_hz / low_hz) / humps
    total = sum(h * band(f, float(c), octaves) for h, c in zip(heights, centres, strict=True))
    return np.asarray(10.0 ** (total / 20.0), dtype=np.float64)


def apply(signal: Samples, response: Floats | Complexes) -> Samples:
    """The signal [windows, samples] through a response [bins] or [windows, bins]."""
    n = signal.shape[-1]
    spectrum = np.fft.rfft(signal) * response.astype(np.complex64)
    return np.fft.irfft(spectrum, n).astype(np.float32, copy=False)


def coloured(rng: np.random.Generator, shape: tuple[int, ...], response: Floats) -> Samples:
    """Gaussian noise of unit variance with the colour of `response` [bins]."""
    bins = (*shape[:-1], shape[-1] // 2 + 1)
    parts = rng.standard_normal((*bins, 2), dtype=np.float32)
    weight = response / np.sqrt(max(float(np.mean(response**2)), 1e-30))
    spectrum = parts.view(np.complex64)[..., 0] * (weight * np.sqrt(shape[-1] / 2.0)).astype(np.float32)
    spectrum[..., 0] = 0.0
    return np.fft.irfft(spectrum, shape[-1]).astype(np.float32, copy=False)


def amplitude(level_db: float) -> float:
    """Amplitude of a level in dB."""
    return float(10.0 ** (level_db / 20.0))
