"""Answers of a model whose confidence is true, for tests."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from rep_edge.calibration.confidence import Answers


def honest(windows: int, seed: int, classes: int = 5, spread: float = 2.0) -> Answers:
    """Logits whose probabilities at temperature 1 are the true ones: targets are drawn from them."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.standard_normal((windows, classes))
    chances = softmax(logits, axis=1).cumsum(axis=1)
    targets = (rng.random((windows, 1)) > chances).sum(axis=1).clip(max=classes - 1)
    return Answers(logits, targets)
