"""Chunks of several streams to one prediction a hop, whichever streams live."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.health import HealthLimits
from rep_edge.runtime.predicting import predict
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.symptoms import limits_of
from rep_edge.runtime.windows import LiveWindow, LiveWindows, StreamSettings


class StreamingClassifier:
    """for prediction in stream.push("acoustic", chunk, start_s): ...

    At each hop the streams whose window is full, fresh and healthy make the live pattern; with none the label is None,
    and the reasons say why. Streams that are suspect are named, beside the answer that there is without them.
    `LiveWindows` says when a hop is decided and which streams are waited for.
    """

    def __init__(
        self, classifier: Classifier, settings: StreamSettings | None = None, health: HealthLimits | None = None
    ) -> None:
        self.classifier, self.spec = classifier, classifier.spec
        limits = limits_of(classifier.bundle.manifest, health or HealthLimits())
        self.windows = LiveWindows(classifier.spec, limits, settings)
        self.settings, self.hop_s = self.windows.settings, self.windows.hop_s

    def push(self, name: str, chunk: NDArray[np.generic], start_s: float) -> list[Prediction]:
        """Samples [channels, n] or [n] of one stream from `start_s` on; the predictions that they complete.

        Raises InputError for an unknown name, another shape or kind of numbers, or a time that is no number.
        """
        return self._answer(self.windows.push(name, chunk, start_s))

    def advance(self, now_s: float) -> list[Prediction]:
        """Time has come to `now_s` though no samples did; the predictions of the hops that have waited long enough."""
        return self._answer(self.windows.advance(now_s))

    def _answer(self, windows: Iterable[LiveWindow]) -> list[Prediction]:
        # Each alone: together they would differ in the last digits, and with them by how long the chunks are.
        return [prediction for window in windows for prediction in predict(self.classifier, [window])]
