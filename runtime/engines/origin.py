"""What a cached engine was built of: one hash over the graph and the weights that lie beside it."""

from __future__ import annotations

import hashlib

from rep_edge.runtime.bundle import Bundle


def graph_hash(bundle: Bundle, pattern: str, precision: str) -> str:
    """sha256 over the sha256 of a graph and of its precision's weights file, as the manifest has them.

    Both, because two trainings of one network may differ in the weights file alone. (Inside a bundle the graph's own
    hash is enough: a calibration that changes weights gives their file, which the graph names, another name.) Raises
    InputError where there is no such graph.
    """
    graph, weights = bundle.graph(pattern, precision).file, bundle.manifest.weights[precision]
    return hashlib.sha256(f"{graph.sha256} {weights.sha256}".encode()).hexdigest()
