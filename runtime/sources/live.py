"""What every live sensor is to the rest: an iterator of chunks that ends or fails, and counts what it refuses."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.notices import Notices

LOGGER = logging.getLogger("rep_edge.sources")


class Chunk(NamedTuple):
    """Samples without a gap, as a sensor delivered them.

    values: float32 [channels, n], n >= 1; start_s: time of the first one on the sensor's own clock in s (since 1970
    where it has such a clock, else since the source was opened); rate_hz: sampling rate in Hz, as the sensor states it;
    arrived_s: `time.monotonic()` when the last one had come. A replay states when it would have come.
    """

    values: NDArray[np.float32]
    start_s: float
    rate_hz: float
    arrived_s: float


class SourceError(Exception):
    """The sensor cannot be reached, or went away: one line that says why. It is tried again."""


class Source(Protocol):
    """A sensor that may be opened again and again.

    address: what people know it by, without passwords; refusals: what it was sent and did not take.
    """

    address: str
    refusals: Refusals

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """Connect, then yield what comes until `stop` is set (noticed within a second) or a recording ends.

        Raises SourceError where the sensor is not there or goes away, MissingExtraError and InputError for what no
        second try mends. Closing the iterator gives everything back.
        """


class Refusals:
    """Counts what a source was sent and did not take, by reason, and logs it at a bounded rate.

    Reasons are a few fixed words of ours, never a peer's bytes.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._notices = Notices(LOGGER)

    def count(self, reason: str, detail: str = "") -> None:
        """One more thing refused for `reason`; detail: for the log, cut and with control characters escaped."""
        with self._lock:
            self._counts[reason] += 1
        told = f" ({detail[:80].encode('unicode_escape').decode()})" if detail else ""
        self._notices.tell(reason, f"{self._address}: refused, {reason}{told}")

    def counts(self) -> dict[str, int]:
        """Reason to how often it was met."""
        with self._lock:
            return dict(self._counts)
