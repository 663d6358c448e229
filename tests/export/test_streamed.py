"""A hop of a stream as one call: always one prediction, with every sensor live."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundles import PAIR, TRIPLE, make_bundle
from numpy.typing import NDArray

from rep_edge.export.streamed import StreamedHop
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.prediction import Prediction
from rep_edge.signals import Stream, WindowSpec

UNEVEN = WindowSpec(
    modalities=(
        Stream(name="vibration", rate_hz=1000 / 3, samples=400),
        Stream(name="seismic", rate_hz=100, samples=120),
    ),
    hop_s=0.37,
)
"""Neither a hop nor a chunk of it is a whole number of samples."""
Chunk = NDArray[np.float32]
SHORT = msgspec.structs.replace(PAIR, hop_s=0.04)


@pytest.mark.parametrize("spec", [PAIR, TRIPLE, UNEVEN, SHORT], ids=["pair", "triple", "uneven", "short hop"])
def test_every_call_gives_one_prediction_of_all_sensors(
    spec: WindowSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hop = StreamedHop(Classifier.load(make_bundle(tmp_path / "bundle", spec)))
    heard: list[Prediction] = []
    push = hop.stream.push

    def hear(name: str, chunk: Chunk, start_s: float) -> list[Prediction]:
        predictions = push(name, chunk, start_s)
        heard.extend(predictions)
        return predictions

    monkeypatch.setattr(hop.stream, "push", hear)
    assert [hop() for _ in range(200)] == [1] * 200
    assert {p.pattern for p in heard} == {spec.pattern_name(spec.complete)}
    assert [p.reasons for p in heard] == [{}] * 200
    assert heard[-1].end_s - heard[0].end_s == pytest.approx(199 * spec.hop_s)


def test_samples_come_in_chunks_of_a_tenth_of_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hop = StreamedHop(Classifier.load(make_bundle(tmp_path / "bundle")))
    sizes: dict[str, list[int]] = {name: [] for name in PAIR.names}
    push = hop.stream.push

    def note(name: str, chunk: Chunk, start_s: float) -> list[Prediction]:
        sizes[name].append(chunk.shape[1])
        return push(name, chunk, start_s)

    monkeypatch.setattr(hop.stream, "push", note)
    hop()
    assert sizes == {"acoustic": [80] * 5, "seismic": [10] * 5}
