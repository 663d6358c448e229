"""Chunks of several streams to one prediction a hop, whichever streams live."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.classifier import Classifier, Prediction
from rep_edge.runtime.health import Admission, HealthLimits, fault
from rep_edge.runtime.streams import StreamBuffer

EPSILON_S = 1e-6


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream is cut.

    hop_s: s from window to window; None: the bundle's. lateness_s: how long a window waits for streams that lag behind
    the first one. slack_s: jitter of time stamps that is not taken for a gap. restart_s: a jump of time by more than
    this, forward or back, begins a new time line.
    """

    hop_s: float | None = None
    lateness_s: float = 0.5
    slack_s: float = 0.02
    restart_s: float = 60.0
    health: HealthLimits = HealthLimits()


class StreamingClassifier:
    """for prediction in stream.push("acoustic", chunk, start_s): ...

    At each hop the streams whose window is full, fresh and healthy make the live pattern. A hop is decided as soon as
    every stream has delivered it, or `lateness_s` after the first one has. With no live stream the label is None, and
    the reasons say why. Windows never wait for a stream that is lost, and time only moves forward.
    """

    def __init__(self, classifier: Classifier, settings: StreamSettings | None = None) -> None:
        self.settings = settings or StreamSettings()
        self.classifier, self.spec = classifier, classifier.spec
        self.hop_s = self.settings.hop_s or self.spec.hop_s
        if not self.hop_s > 0:
            raise InputError(f"hop_s: must be above 0, not {self.hop_s}")
        capacity_s = self.spec.window_s + self.hop_s + self.settings.lateness_s + 1.0
        self._buffers = {m.name: StreamBuffer(m, capacity_s, self.settings.slack_s) for m in self.spec.modalities}
        self._admissions = {name: Admission(self.settings.health.readmit) for name in self.spec.names}
        self._next_end: float | None = None
        self._now: float | None = None

    def push(self, name: str, chunk: NDArray[np.float32], start_s: float) -> Iterator[Prediction]:
        """Samples [channels, n] or [n] of one stream from `start_s` on; yields the predictions that they complete.

        Raises InputError for an unknown name, another shape, or a time that is no number.
        """
        buffer = self._buffers.get(name)
        if buffer is None:
            raise InputError(f"{name}: is no modality of this bundle; it has {', '.join(self.spec.names)}")
        if not np.isfinite(start_s):
            raise InputError(f"{name}: start_s must be a time in s, not {start_s}")
        end_s = start_s + chunk.shape[-1] / buffer.modality.rate_hz
        self._restart_after_jump(start_s, end_s)
        if self._next_end is None:
            self._next_end = start_s + self.spec.window_s
        for at in range(0, max(1, chunk.shape[-1]), buffer.modality.samples):
            # Long chunks in pieces, so that the ring need not hold more than a window and its hop.
            piece = chunk[..., at : at + buffer.modality.samples]
            buffer.push(piece, start_s + at / buffer.modality.rate_hz)
            yield from self._until(start_s + (at + piece.shape[-1]) / buffer.modality.rate_hz)

    def advance(self, now_s: float) -> Iterator[Prediction]:
        """Time has come to `now_s` though no samples did; yields the hops that have waited long enough."""
        yield from self._until(now_s)

    def _restart_after_jump(self, start_s: float, end_s: float) -> None:
        if self._now is None:
            return
        limit = self.settings.restart_s
        if start_s > self._now + limit or end_s < self._now - limit:
            for buffer in self._buffers.values():
                buffer.restart()
            self._now = self._next_end = None
            self._admissions = {name: Admission(self.settings.health.readmit) for name in self.spec.names}

    def _until(self, time_s: float) -> Iterator[Prediction]:
        """Decide every hop that is complete, or late, now that time has come to `time_s`."""
        self._now = time_s if self._now is None else max(self._now, time_s)
        if self._next_end is None:
            self._next_end = time_s + self.spec.window_s
        while self._complete(self._next_end) or self._now >= self._next_end + self.settings.lateness_s - EPSILON_S:
            end_s = self._next_end
            self._next_end = end_s + self.hop_s
            yield self._decide(end_s)

    def _complete(self, end_s: float) -> bool:
        ends = [buffer.end_s for buffer in self._buffers.values()]
        return all(end is not None and end >= end_s - EPSILON_S for end in ends)

    def _decide(self, end_s: float) -> Prediction:
        """The prediction of the window that ends at `end_s`."""
        live, reasons = {}, {}
        for modality in self.spec.modalities:
            cut = self._buffers[modality.name].cut(end_s)
            reason = self._admissions[modality.name].judge(fault(modality, cut, self.settings.health))
            if reason is None:
                live[modality.name] = cut.values
            else:
                reasons[modality.name] = reason
        start_s = end_s - self.spec.window_s
        if not live:
            return Prediction(
                label=None, probabilities={}, pattern="", latency_s=0.0, start_s=start_s, end_s=end_s, reasons=reasons
            )
        prediction = self.classifier(live, start_s)
        return msgspec.structs.replace(prediction, reasons=reasons) if reasons else prediction
