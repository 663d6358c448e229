"""A graph's output to what the task asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.softmax import softmax


def activate(task: str, output: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Output [B, n] of a task as float64 [B, n]: probabilities that add up to one ("multiclass"), one for each label
    ("multilabel"), or the value itself ("regression", to which a temperature does nothing)."""
    if task == "multiclass":
        return softmax(output, temperature)
    values = np.asarray(output, dtype=np.float64)
    if task == "regression":
        return values
    # 1 / (1 + exp(-z)), written so that nothing overflows.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values / temperature)))
