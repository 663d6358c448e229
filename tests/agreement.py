"""What two backends may differ by on the same windows."""

from __future__ import annotations

from collections.abc import Sequence

from rep_edge.runtime.prediction import Prediction

BOUND = {"fp32": 1e-4, "fp16": 5e-3, "int8": 5e-2}
"""Precision -> the largest difference of a probability between backends that run the same graph."""


def require_agreement(made: Sequence[Prediction], reference: Sequence[Prediction], bound: float) -> None:
    """The same pattern and label, and probabilities within `bound`, window by window."""
    assert len(made) == len(reference)
    assert made, "no window was compared"
    for number, (ours, other) in enumerate(zip(made, reference, strict=True)):
        assert ours.pattern == other.pattern, number
        assert list(ours.probabilities) == list(other.probabilities), number
        for label, probability in ours.probabilities.items():
            difference = abs(probability - other.probabilities[label])
            assert difference <= bound, f"window {number}: {label} differs by {difference:.1e}, more than {bound:.0e}"
        assert ours.label == other.label, number
