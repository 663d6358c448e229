"""Windows that sensors should not deliver, and do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rep_edge.signals import WindowSpec


def adversarial_windows(spec: WindowSpec, seed: int) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Kind -> modality -> float32 [4, channels, samples]."""
    rng = np.random.default_rng(seed)
    kinds: dict[str, dict[str, NDArray[np.float32]]] = {}
    for m in spec.modalities:
        noise = rng.standard_normal((4, *m.shape))
        impulse = np.zeros((4, *m.shape))
        impulse[..., m.samples // 3] = 1.0
        made = {
            "zeros": np.zeros((4, *m.shape)),
            "constant": np.full((4, *m.shape), 12345.678),
            "clipped": np.clip(10 * noise, -1, 1),
            "huge": 1e30 * noise,
            "tiny": 1e-15 * noise,
            "impulse": impulse,
            "noise": noise,
        }
        for kind, values in made.items():
            kinds.setdefault(kind, {})[m.name] = values.astype(np.float32)
    return kinds
