"""Labelled examples for tests: noise of any modality, and labels that a bundle mostly agrees with."""

from __future__ import annotations

import numpy as np
from example_bundles import random_examples
from labelled import NoiseSource

from rep_edge.calibration.calibrating import Sides
from rep_edge.calibration.graphs import logits, read_graph
from rep_edge.runtime.bundle import Bundle
from rep_edge.signals import WindowSpec


def example_source(spec: WindowSpec, labels: tuple[str, ...], count: int, seed: int) -> NoiseSource:
    """Examples whose classes take turns."""
    return NoiseSource(spec, labels, random_examples(spec, count, seed), np.arange(count) % len(labels))


def example_sides(bundle: Bundle, count: int = 120) -> Sides:
    """Three sides on which the bundle's complete graph is right in about four of five examples."""
    manifest = bundle.manifest
    complete = read_graph(bundle, manifest.spec.pattern_name(manifest.spec.complete), "fp32")
    rng = np.random.default_rng(9)
    made = []
    for seed in (1, 2, 3):
        source = example_source(manifest.spec, manifest.labels, count, seed)
        said = logits(complete, source.values).argmax(axis=-1)
        # Every class has examples, whatever the graph says.
        source.targets = np.where(rng.random(count) < 0.3, source.targets, said)
        made.append(source)
    return Sides(*made, dataset="noise of the tests")
