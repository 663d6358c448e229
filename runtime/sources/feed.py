"""A thread for each sensor: it opens the source, reads it at the modality's rate, and opens it again when it fails."""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping

from rep_edge.errors import InputError
from rep_edge.runtime.notices import Notices
from rep_edge.runtime.sources.backoff import Backoff
from rep_edge.runtime.sources.live import LOGGER, Chunk, Source, SourceError
from rep_edge.runtime.sources.resampling import StreamingResampler
from rep_edge.signals import Stream

LONGEST_CHUNK_S = 60.0
"""Seconds; no sensor delivers more at once."""

MOST_RATIO = 4000.0
"""Between a sensor's rate and the modality's: 192 kHz to 50 Hz."""

CLOSE_S = 2.0
"""Seconds that a source gets to stop."""


class Feed:
    """The sensor of one stream: `take` gives what came since the last time. Whatever the sensor does, it lives on.

    stream: its name, for the log. queue_s: how many seconds wait at most to be taken; beyond it the oldest are lost.
    wake: called by the feed's thread when there is something to take, or the source has ended.
    """

    def __init__(
        self,
        stream: str,
        source: Source,
        modality: Stream,
        queue_s: float = 10.0,
        wake: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
    ) -> None:
        self.address = source.address
        self._stream, self._source, self._modality = stream, source, modality
        self._queue_s, self._wake = queue_s, wake
        self._backoff = backoff or Backoff()
        self._notices = Notices(LOGGER)
        self._thread = threading.Thread(target=self._run, name=f"feed {stream}", daemon=True)
        self._lock = threading.Lock()
        self._queue: deque[Chunk] = deque()
        self._queued_s = 0.0
        self._closed = threading.Event()
        self._stop, self._why = threading.Event(), ""
        self._connected_s: float | None = None
        self._latest_s = 0.0
        self._connection, self._reconnects, self._dropped = "connecting", 0, 0
        self._rate_hz = modality.rate_hz

    def start(self) -> None:
        self._thread.start()

    def take(self) -> list[Chunk]:
        """All that came since the last time: float32 [channels, n] at the modality's rate, in the order of arrival."""
        with self._lock:
            taken = list(self._queue)
            self._queue.clear()
            self._queued_s = 0.0
        return taken

    def reconnect(self, why: str) -> None:
        """Close the source and open it again at once: whoever asks decides how often."""
        with self._lock:
            self._why = why
            self._stop.set()

    def close(self) -> None:
        """Give the source back; what is queued can still be taken."""
        self._closed.set()
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
            if self._thread.is_alive():
                LOGGER.warning("%s: %s does not stop; it is left alone", self._stream, self.address)

    @property
    def connection(self) -> str:
        """What the source is doing: "connecting", "connected" (something came), "waiting 8 s: REASON", "ended"."""
        return self._connection

    @property
    def ended(self) -> bool:
        """Whether a recording has come to its end: nothing will come any more."""
        return self._connection == "ended"

    @property
    def reconnects(self) -> int:
        """How often it was opened again."""
        return self._reconnects

    @property
    def dropped(self) -> int:
        """How many chunks a full queue lost."""
        return self._dropped

    @property
    def refused(self) -> dict[str, int]:
        """Reason to how often something was sent and not taken."""
        return self._source.refusals.counts()

    @property
    def rate_hz(self) -> float:
        """The sensor's rate as it states it; before it did, the modality's."""
        return self._rate_hz

    def _run(self) -> None:
        while not self._closed.is_set():
            why, wait_s = self._read_until_it_fails()
            if self._closed.is_set():
                break
            if why is None:
                self._connection = "ended"
                LOGGER.info("%s: %s has ended", self._stream, self.address)
                self._wake()
                return
            self._connection = f"waiting {wait_s:g} s: {why}"
            self._notices.tell(why, f"{self._stream}: {why}; {self.address} is tried again in {wait_s:g} s")
            self._closed.wait(wait_s)
            self._reconnects += 1
        self._connection = "closed"

    def _read_until_it_fails(self) -> tuple[str | None, float]:
        """Why it was closed, None where it ended, and how many seconds to wait before it is opened again."""
        with self._lock:
            self._connection, self._connected_s = "connecting", None
            self._stop, self._why = threading.Event(), ""
            if self._closed.is_set():
                self._stop.set()
        try:
            self._read()
        except InputError as error:
            # No second try mends it, but a person may.
            return str(error), self._backoff.most_s
        except SourceError as error:
            return str(error), self._wait_s()
        except Exception as error:
            fault = f"{type(error).__name__} in its source"
            self._notices.tell(fault, f"{self._stream}: {fault}\n{traceback.format_exc()}", logging.ERROR)
            return fault, self._wait_s()
        return (self._why, 0.0) if self._stop.is_set() else (None, 0.0)

    def _wait_s(self) -> float:
        return self._backoff.wait_s(0.0 if self._connected_s is None else self._latest_s - self._connected_s)

    def _read(self) -> None:
        chunks, resampler = self._source.chunks(self._stop), StreamingResampler(self._modality)
        try:
            for chunk in chunks:
                if self._stop.is_set():
                    return
                problem = _problem(chunk, self._modality)
                if problem:
                    self._source.refusals.count(problem)
                else:
                    self._note(chunk)
                    self._keep(resampler.push(chunk))
        finally:
            if isinstance(chunks, Generator):
                chunks.close()
            self._keep(resampler.flush())

    def _note(self, chunk: Chunk) -> None:
        self._rate_hz, self._latest_s = chunk.rate_hz, time.monotonic()
        if self._connected_s is None:
            self._connection, self._connected_s = "connected", self._latest_s
            self._notices.tell("connected", f"{self._stream}: {self.address} is connected", logging.INFO)

    def _keep(self, chunks: list[Chunk]) -> None:
        if not chunks:
            return
        with self._lock:
            for chunk in chunks:
                self._queue.append(chunk)
                self._queued_s += self._length_s(chunk)
            while self._queued_s > self._queue_s and len(self._queue) > 1:
                self._queued_s -= self._length_s(self._queue.popleft())
                self._dropped += 1
        self._wake()

    def _length_s(self, chunk: Chunk) -> float:
        return float(chunk.values.shape[1] / self._modality.rate_hz)


def take_all(feeds: Mapping[str, Feed]) -> list[tuple[str, Chunk]]:
    """What came of all streams, in the order in which it arrived: after a pause no stream is late for another one."""
    taken = [(stream, chunk) for stream, feed in feeds.items() for chunk in feed.take()]
    return sorted(taken, key=lambda arrival: arrival[1].arrived_s)


def _problem(chunk: Chunk, modality: Stream) -> str:
    """Why a chunk cannot be taken, in a few fixed words; "" where it can. Bad samples are for the stream's health."""
    values = chunk.values
    if values.ndim != 2 or values.shape[0] != modality.channels or not values.shape[1]:
        return "another number of channels"
    if not (math.isfinite(chunk.rate_hz) and 1 / MOST_RATIO <= chunk.rate_hz / modality.rate_hz <= MOST_RATIO):
        return "a rate that cannot be"
    if not (math.isfinite(chunk.start_s) and math.isfinite(chunk.arrived_s)):
        return "a time that is no number"
    if values.shape[1] / chunk.rate_hz > LONGEST_CHUNK_S:
        return f"longer than {LONGEST_CHUNK_S:g} s"
    return ""
