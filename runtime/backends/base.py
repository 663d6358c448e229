"""What the classifier needs of whatever runs a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.bundle import Bundle
from rep_edge.signals import Example


class Runner(Protocol):
    """An opened graph. note: what is to be said of how it runs, "" for nothing."""

    note: str

    def run(self, windows: Mapping[str, Example]) -> NDArray[np.float32]:
        """Live windows, each [B, *shape] of its modality's dtype, to logits [B, outputs].

        Raises InputError where that fails.
        """

    def close(self) -> None:
        """Give back all that it holds. It cannot be run after that; closing it again does nothing."""


class Backend(Protocol):
    """Opens graphs of a bundle. name: "onnxruntime-cpu", "tensorrt-rtx"; device: what it runs on, for people."""

    name: str
    device: str

    def open(self, bundle: Bundle, pattern: str, precision: str) -> Runner:
        """Raises InputError where that graph cannot be opened."""
