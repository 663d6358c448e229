"""What the page sees of the service: the one thing that the service has to offer for it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.events.event import Event, Verdict
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.service.status import ServiceStatus


class Waveform(NamedTuple):
    """The newest samples of one stream.

    start_s: time of the first one in s since 1970; rate_hz: sampling rate in Hz; values: float32 [channels, n] in the
    modality's unit, NaN where nothing came.
    """

    start_s: float
    rate_hz: float
    values: NDArray[np.float32]


class View(Protocol):
    """The service, to look at. Called from several threads; what it returns is not changed afterwards."""

    def status(self) -> ServiceStatus:
        """How everything is now."""

    def verdicts(self, node: str, limit: int) -> list[Verdict]:
        """What became of the latest hops of a node, the newest last."""

    def waveform(self, node: str, stream: str, seconds: float) -> Waveform | None:
        """The last seconds of a stream, or as much of them as is held; None where there is no such stream."""

    def tracks(self, limit: int, before_s: float | None) -> list[Event]:
        """The latest event of each track, the newest onset first; those that began before a time in s since 1970."""

    def track(self, track: str) -> list[Event]:
        """All events of a track; none where there is no such track."""

    def marks(self) -> dict[str, Mark]:
        """Track -> what a person said of it."""

    def mark(self, mark: Mark) -> None:
        """Keep what a person says of a track."""

    def clip_file(self, track: str, name: str) -> Path | None:
        """A file of a track's clip; None where there is no such track, clip or file."""
