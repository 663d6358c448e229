"""Streams and sensors with something wrong with them, the same for the same seed."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

import numpy as np

from rep_edge.runtime.faults.delivery import DELIVERIES
from rep_edge.runtime.faults.fault import KINDS, Fault
from rep_edge.runtime.faults.parts import Part, as_parts, cut_at
from rep_edge.runtime.faults.samples import CHANGES, changed
from rep_edge.runtime.sources.live import Chunk, Refusals, Source

ORDER = list(KINDS)


def inject(chunks: Iterable[Chunk], faults: Iterable[Fault], seed: int, zero_s: float | None = None) -> Iterator[Chunk]:
    """The chunks of one stream as they come with these faults of it, in the order in which they come.

    A chunk in which a fault begins or ends comes in two. zero_s: second 0 of the faults on the sensor's clock; None:
    the start of the first chunk. Nothing waits: what comes late comes with the chunk that comes after the delay.
    """
    parts: Iterator[Part] = as_parts(chunks, zero_s)
    for number, fault in enumerate(sorted(faults, key=lambda fault: ORDER.index(fault.kind))):
        cut = cut_at(parts, (fault.start_s, fault.end_s))
        way = changed if fault.kind in CHANGES else DELIVERIES[fault.kind]
        parts = way(cut, fault, np.random.default_rng([seed, number]))
    return (part.chunk for part in parts)


class FaultySource:
    """A source with faults; their second 0 is the first chunk each time that it is opened."""

    def __init__(self, source: Source, faults: Sequence[Fault], seed: int) -> None:
        self._source, self._faults, self._seed = source, faults, seed
        self.address: str = source.address
        self.refusals: Refusals = source.refusals

    def chunks(self, stop: threading.Event) -> Iterator[Chunk]:
        """What the source yields, with the faults; it ends and fails as the source does."""
        opened = self._source.chunks(stop)
        try:
            yield from inject(opened, self._faults, self._seed)
        finally:
            if isinstance(opened, Generator):
                opened.close()


def with_faults(sources: Mapping[str, Source], faults: Sequence[Fault], seed: int) -> dict[str, Source]:
    """Stream to its source, those that have faults with them."""
    found = dict(sources)
    for name in {fault.stream for fault in faults} & found.keys():
        found[name] = FaultySource(found[name], [fault for fault in faults if fault.stream == name], seed)
    return found
