"""The layers that must stay in fp32 so that a graph loses no more than its budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from rep_edge.calibration.graphs import Array, logits
from rep_edge.calibration.windows import LabelledWindows, Values
from rep_edge.runtime.softmax import softmax

Tell = Callable[[str], None]
Make = Callable[[Sequence[str]], onnx.ModelProto]
"""Layers to keep in fp32 -> the graph."""


class Judgement(NamedTuple):
    """A graph beside its fp32 graph.

    windows: validation windows; accuracy, accuracy_fp32, agreement: shares of them; loss: of accuracy; standard_error:
    of the loss; errors: kind of window -> largest difference of a probability.
    """

    windows: int
    accuracy: float
    accuracy_fp32: float
    agreement: float
    loss: float
    standard_error: float
    errors: dict[str, float]

    def within(self, budget: float, tolerance: float) -> bool:
        """Whether the loss is below the budget beyond what chance explains, and no probability is too far off.

        Two standard errors: on few windows a graph may seem to lose nothing by luck.
        """
        near = all(error <= tolerance for error in self.errors.values())
        return near and self.loss + 2 * self.standard_error <= budget


class Judge:
    """Compares graphs of one pattern with its fp32 graph, on labelled validation windows and on adversarial ones."""

    def __init__(self, fp32: onnx.ModelProto, windows: LabelledWindows, kinds: Mapping[str, Values]) -> None:
        self.windows, self.kinds = windows, {"real": windows.values, **kinds}
        self.reference = {kind: logits(fp32, values) for kind, values in self.kinds.items()}

    def __call__(self, model: onnx.ModelProto) -> Judgement:
        found = {kind: logits(model, values) for kind, values in self.kinds.items()}
        right, right_fp32 = self._right(found["real"]), self._right(self.reference["real"])
        labels, labels_fp32 = found["real"].argmax(axis=-1), self.reference["real"].argmax(axis=-1)
        difference = right_fp32.astype(np.float64) - right
        return Judgement(
            windows=len(difference),
            accuracy=float(right.mean()),
            accuracy_fp32=float(right_fp32.mean()),
            agreement=float((labels == labels_fp32).mean()),
            loss=float(difference.mean()),
            standard_error=float(difference.std() / len(difference) ** 0.5),
            errors={kind: _largest(self.reference[kind], z) for kind, z in found.items()},
        )

    def _right(self, z: Array) -> NDArray[np.bool_]:
        return np.asarray(z.argmax(axis=-1) == self.windows.targets)


def keep_fewest(
    order: Sequence[str], make: Make, judge: Callable[[onnx.ModelProto], Judgement], budget: float, tolerance: float
) -> tuple[int, Judgement]:
    """How many layers, from the front of `order` (the most sensitive first), must be kept, and what that costs.

    One after the other, in longer steps from the eighth on. All kept is the fp32 graph, so that there is always an end.
    """
    count = 0
    while True:
        judgement = judge(make(order[:count]))
        if count >= len(order) or judgement.within(budget, tolerance):
            return count, judgement
        count = min(len(order), count + max(1, count // 4))


def _largest(reference: Array, other: Array) -> float:
    """The largest difference of a probability; infinite where one side is no number and the other is."""
    with np.errstate(all="ignore"):
        difference = np.abs(softmax(reference) - softmax(other))
    lost = np.isfinite(reference).all(axis=-1) & ~np.isfinite(other).all(axis=-1)
    return float("inf") if lost.any() else float(np.nanmax(difference, initial=0.0))
