"""Sensors of noise with faults, played to a node, and what must be true of its predictions whatever the faults."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from bundles import PAIR

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.tracking import TrackSettings
from rep_edge.runtime.faults.fault import Fault
from rep_edge.runtime.faults.injecting import inject
from rep_edge.runtime.health import HealthLimits
from rep_edge.runtime.predicting import predict
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.service.node import Node, NodeSettings
from rep_edge.runtime.sources.live import Chunk
from rep_edge.runtime.symptoms import limits_of
from rep_edge.runtime.windows import StreamSettings

HOP_S, WINDOW_S = PAIR.hop_s, PAIR.window_s
BOTH = PAIR.pattern_name(PAIR.complete)
CHUNK_S = 0.1
CLOCKS = {"acoustic": (0.0, 0.0), "seismic": (1_700_000_000.0, 3e-5)}
"""Offset in s and drift of each sensor's own clock."""

LEAST_S = {"dropout": 0.1, "nan": 0.5, "stuck": 0.6, "clip": WINDOW_S}
"""Faults after which a stream cannot be believed -> how much of one a window must hold for that: where a window holds
samples beyond the level at which others are clipped, nothing tells that they are."""
SLACK_S, CLOCK_SLACK_S = 0.1, 0.4
"""What the time line may be wrong by, and where a clock is wrong or chunks are late."""
CLOCK_KINDS = {"jump", "drift", "late", "rate"}


def sensor(name: str, seconds: float, seed: int) -> Iterator[Chunk]:
    """Noise in chunks of CHUNK_S that arrive as soon as they are complete, and have times of the sensor's own clock."""
    modality, (offset_s, drift) = PAIR[name], CLOCKS[name]
    rng, size = np.random.default_rng([seed, len(name)]), round(CHUNK_S * PAIR[name].rate_hz)
    for turn in range(round(seconds / CHUNK_S)):
        values = rng.standard_normal((modality.channels, size), np.float32)
        start_s = turn * CHUNK_S
        yield Chunk(values, offset_s + start_s * (1 + drift), modality.rate_hz, start_s + CHUNK_S)


def deliveries(faults: Sequence[Fault], seconds: float, seed: int = 0) -> Iterator[tuple[str, Chunk]]:
    """What both sensors deliver, in the order in which it arrives."""

    def stream(name: str) -> Iterator[tuple[str, Chunk]]:
        mine = [fault for fault in faults if fault.stream == name]
        return ((name, chunk) for chunk in inject(sensor(name, seconds, seed), mine, seed, CLOCKS[name][0]))

    return heapq.merge(*map(stream, PAIR.names), key=lambda delivery: delivery[1].arrived_s)


def make_node(classifier: Classifier) -> Node:
    """A node with the settings that one has by default."""
    limits = limits_of(classifier.bundle.manifest, HealthLimits())
    settings = NodeSettings(StreamSettings(), limits, TrackSettings(), {}, None)
    return Node("yard", classifier.spec, classifier.labels, settings)


def turns(
    classifier: Classifier, node: Node, delivered: Iterable[tuple[str, Chunk]], until_s: float
) -> Iterator[Prediction]:
    """What the service's loop does with a node: a turn every CHUNK_S, whether something came or not."""

    def turn(now_s: float) -> Iterator[Prediction]:
        node.advance(now_s)
        for prediction in predict(classifier, node.take_due()):
            node.finish(prediction, 0.0)
            yield prediction

    now_s = 0.0
    yield from turn(now_s)
    for name, chunk in delivered:
        while chunk.arrived_s > now_s + CHUNK_S:
            now_s += CHUNK_S
            yield from turn(now_s)
        node.receive(name, chunk)
    yield from turn(until_s)


def play(classifier: Classifier, faults: Sequence[Fault], seconds: float, seed: int = 0) -> list[Prediction]:
    """All predictions of so many seconds with these faults."""
    made = turns(classifier, make_node(classifier), deliveries(faults, seconds + 1.0, seed), seconds + 1.0)
    return [prediction for prediction in made if prediction.end_s <= seconds + 1e-6]


def require_every_hop(made: Sequence[Prediction], seconds: float) -> None:
    """Exactly one prediction a hop, from the first window to the last."""
    ends = [prediction.end_s for prediction in made]
    np.testing.assert_allclose(np.diff(ends), HOP_S, atol=1e-6)
    assert ends[0] <= WINDOW_S + HOP_S
    assert ends[-1] >= seconds - HOP_S
    assert all(set(p.reasons) | set(p.pattern.split("+")) - {""} == set(PAIR.names) for p in made)


def require_no_dead_stream(made: Sequence[Prediction], faults: Sequence[Fault]) -> None:
    """No prediction rests on a stream of which its window holds nothing but a fault."""
    for prediction in made:
        dead = {f.stream for f in faults if _kills(f, prediction, _slack_s(f.stream, faults))}
        assert not dead & set(prediction.pattern.split("+")), f"{dead} at {prediction.end_s}: {prediction.pattern}"


def _kills(fault: Fault, prediction: Prediction, slack_s: float) -> bool:
    shared_s = min(fault.end_s - slack_s, prediction.end_s) - max(fault.start_s + slack_s, prediction.start_s)
    return fault.kind in LEAST_S and shared_s >= LEAST_S[fault.kind] - 1e-6


def _slack_s(stream: str, faults: Sequence[Fault]) -> float:
    clocks = any(fault.stream == stream and fault.kind in CLOCK_KINDS for fault in faults)
    return CLOCK_SLACK_S if clocks else SLACK_S


def hops_out(made: Sequence[Prediction], stream: str, from_s: float) -> int:
    """How many of the hops whose windows begin at `from_s` or later pass before one has the stream."""
    after = [prediction for prediction in made if prediction.start_s >= from_s]
    return next(number for number, prediction in enumerate(after) if stream in prediction.pattern)
