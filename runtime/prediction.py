"""What was heard in one window: plain structs, so that sinks and pages need nothing else of the classifier."""

from __future__ import annotations

import msgspec


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """The answer without the streams that are suspect.

    pattern, label, probabilities: as in a prediction. disagreement: total variation distance between its probabilities
    and those of the prediction, 0 (the same) to 1.
    """

    pattern: str
    label: str
    probabilities: dict[str, float]
    disagreement: float


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard in one window.

    label: the most probable class (of a value: the side of zero that it is on), or None where no modality was live;
    probabilities: by label, empty where there is none; value: what a regression found, None for labels.
    pattern: live modalities joined by "+", "" for none; latency_s: time of graph and pre-checks.
    start_s, end_s: the window on the stream's time line; reasons: by modality, why it was not live.
    label_set: the classes that cannot be ruled out, the most probable first, at the coverage that the bundle was
    calibrated to, None where it was not; where several labels may apply, those that do.
    suspects: modality that takes part though it is suspect -> why; alternative: the answer without them, None where
    there is no suspect or no other modality.
    """

    label: str | None
    probabilities: dict[str, float]
    pattern: str
    latency_s: float
    start_s: float
    end_s: float
    reasons: dict[str, str] = {}
    label_set: tuple[str, ...] | None = None
    value: float | None = None
    suspects: dict[str, str] = {}
    alternative: Alternative | None = None
