"""A stream's work for one hop as a call that can be timed."""

from __future__ import annotations

import numpy as np

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.streaming import StreamingClassifier

CHUNK_S = 0.1
"""Seconds of samples that come at once, about what sound cards and data loggers deliver."""


class StreamedHop:
    """Every call pushes the next hop of every stream, chunk by chunk, and gets the one prediction that is due."""

    def __init__(self, classifier: Classifier) -> None:
        self.stream = StreamingClassifier(classifier)
        self.spec = classifier.spec
        self.chunks = max(1, round(self.spec.hop_s / CHUNK_S))
        rng = np.random.default_rng(0)
        self.sent = {m.name: 0 for m in self.spec.streams}
        self.noise = {
            m.name: rng.standard_normal((m.channels, round(self.spec.hop_s * m.rate_hz) + 1)).astype(np.float32)
            for m in self.spec.streams
        }
        self.pushed = 0
        while not self():
            continue

    def __call__(self) -> int:
        """Push one hop; the number of predictions it gave."""
        predictions = 0
        for _ in range(self.chunks):
            self.pushed += 1
            for m in self.spec.streams:
                start = self.sent[m.name]
                stop = round(self.pushed / self.chunks * self.spec.hop_s * m.rate_hz)
                chunk = self.noise[m.name][:, : stop - start]
                self.sent[m.name] = stop
                for prediction in self.stream.push(m.name, chunk, start / m.rate_hz):
                    predictions += prediction.label is not None
        return predictions
