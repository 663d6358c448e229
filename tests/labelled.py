"""Labelled windows for tests: noise that gets louder with its class, and labels that a bundle mostly agrees with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.calibration.calibrating import Sides
from rep_edge.calibration.graphs import logits, read_graph
from rep_edge.runtime.bundle import Bundle
from rep_edge.signals import WindowSpec


class Sample(NamedTuple):
    values: dict[str, NDArray[np.float32]]


class NoiseSource:
    """One side of a data set. values: modality -> float32 [n, channels, samples]; targets: int64 [n]."""

    def __init__(
        self,
        spec: WindowSpec,
        labels: tuple[str, ...],
        values: dict[str, NDArray[np.float32]],
        targets: NDArray[np.int64],
    ) -> None:
        self.spec, self.labels, self.values, self.targets = spec, labels, values, targets
        self.recordings = [f"run {i // 4}" for i in range(len(targets))]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        return Sample({name: values[index] for name, values in self.values.items()})


def noise_source(spec: WindowSpec, labels: tuple[str, ...], count: int, seed: int) -> NoiseSource:
    """Windows whose classes take turns."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % len(labels)
    values = {
        m.name: (rng.standard_normal((count, *m.shape)) * (1 + targets[:, None, None])).astype(np.float32)
        for m in spec.modalities
    }
    return NoiseSource(spec, labels, values, targets)


def sides_of(bundle: Bundle, count: int = 120) -> Sides:
    """Three sides on which the bundle's complete graph is right in about four of five windows."""
    manifest = bundle.manifest
    complete = read_graph(bundle, manifest.spec.pattern_name(manifest.spec.complete), "fp32")
    rng = np.random.default_rng(9)
    made = []
    for seed in (1, 2, 3):
        source = noise_source(manifest.spec, manifest.labels, count, seed)
        said = logits(complete, source.values).argmax(axis=-1)
        # Every class has windows, whatever the graph says.
        wrong = rng.random(count) < 0.3
        made.append(NoiseSource(source.spec, source.labels, source.values, np.where(wrong, source.targets, said)))
    return Sides(*made, dataset="noise of the tests")
