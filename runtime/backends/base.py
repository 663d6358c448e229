"""What the classifier needs of whatever runs a graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Runner(Protocol):
    """An opened graph."""

    def run(self, windows: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Live windows, each [B, channels, samples], to logits [B, classes]."""


class Backend(Protocol):
    """Opens graphs."""

    name: str

    def open(self, graph: Path) -> Runner:
        """Raises InputError where the graph cannot be opened."""
