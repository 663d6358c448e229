"""What every data source is: labelled windows, each from a named recording."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from numpy.typing import NDArray

from rep_edge.signals import Example, WindowSpec

Targets: TypeAlias = NDArray[Any]
"""What is to be said of n windows, by the task: classes int64 [n], 0 and 1 float32 [n, labels], values float32 [n]."""


class Window(NamedTuple):
    """One example.

    values: per modality of the spec, an array of its shape and dtype.
    target: its row of the dataset's targets; recording: the run, file or movie it comes from; start_s: where, in s.
    """

    values: dict[str, Example]
    target: Any
    recording: str
    start_s: float


class WindowDataset(Protocol):
    """A list of windows whose labels and recordings are known without reading a waveform.

    spec: shapes and rates; labels: names, in logit order (of a value: its two sides); name: what provenance calls it.
    targets: of all windows; recordings: the recording (or run) of each window, length n.
    report: what people should know of how it was read, a line each.
    """

    @property
    def spec(self) -> WindowSpec: ...
    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> Targets: ...
    @property
    def recordings(self) -> tuple[str, ...]: ...
    @property
    def report(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Window: ...
