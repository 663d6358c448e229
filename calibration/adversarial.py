"""Windows that sensors should not deliver, and do."""

from __future__ import annotations

import numpy as np

from rep_edge.calibration.noise import noise
from rep_edge.signals import Example, Image, Modality, Stream, Text, WindowSpec

COUNT = 4
"""Windows of each kind."""


def adversarial_windows(spec: WindowSpec, seed: int) -> dict[str, dict[str, Example]]:
    """Kind -> modality -> [4, *shape of the modality], for every modality in every kind."""
    rng = np.random.default_rng(seed)
    kinds: dict[str, dict[str, Example]] = {}
    for m in spec.modalities:
        made = _texts(m, rng) if isinstance(m, Text) else _values(m, rng)
        for kind, values in made.items():
            kinds.setdefault(kind, {})[m.name] = values.astype(m.dtype)
    return kinds


def _values(m: Modality, rng: np.random.Generator) -> dict[str, Example]:
    shape = (COUNT, *m.shape)
    noisy = noise(m, COUNT, rng)
    impulse = np.zeros(shape)
    impulse[..., m.shape[-1] // 3] = 1.0
    # A stream's front end takes its level away; pictures and features come scaled, and a wild one is far outside.
    constant, largest = (12345.678, 1e30) if isinstance(m, Stream) else (2.5, 1e3)
    return {
        "zeros": np.zeros(shape),
        "constant": np.full(shape, constant),
        "clipped": np.clip(10 * noisy, *((-1.8, 1.93) if isinstance(m, Image) else (-1, 1))),
        "huge": largest * noisy.astype(np.float64),
        "tiny": 1e-15 * noisy,
        "impulse": impulse,
        "noise": noisy,
    }


def _texts(m: Text, rng: np.random.Generator) -> dict[str, Example]:
    """Ids that no tokenizer gives stand among them: no end, nothing but ends, one id everywhere."""
    shape = (COUNT, m.tokens)
    short = np.tile(m.blank(), (COUNT, 1))
    return {
        "zeros": np.zeros(shape),
        "constant": np.full(shape, m.vocabulary // 2),
        "clipped": rng.integers(0, m.vocabulary, shape),
        "huge": np.full(shape, m.vocabulary - 1),
        "tiny": short,
        "impulse": np.where(np.arange(m.tokens) == m.tokens // 3, m.end, m.pad) * np.ones(shape),
        "noise": noise(m, COUNT, rng),
    }
