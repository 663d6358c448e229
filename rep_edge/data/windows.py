"""What every data source is: labelled windows, each from a named recording."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rep_edge.signals import WindowSpec


class Window(NamedTuple):
    """One example.

    values: per modality of the spec, float32 [channels, samples].
    label: index into the dataset's labels; recording: the run or file it was cut from; start_s: where, in s.
    """

    values: dict[str, NDArray[np.float32]]
    label: int
    recording: str
    start_s: float


class WindowDataset(Protocol):
    """A list of windows whose labels and recordings are known without reading a waveform.

    spec: shapes and rates; labels: names, in logit order; name: what provenance calls it.
    targets: int64 [n], label of each window; recordings: the recording (or run) of each window, length n.
    report: what people should know of how it was read, a line each.
    """

    @property
    def spec(self) -> WindowSpec: ...
    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> NDArray[np.int64]: ...
    @property
    def recordings(self) -> tuple[str, ...]: ...
    @property
    def report(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Window: ...
