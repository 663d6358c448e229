"""Live sensors on the command line: heard until Ctrl-C, while their sources say on standard error what happens."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.runtime.prediction import Prediction
    from rep_edge.runtime.sources.live import Source
    from rep_edge.runtime.streaming import StreamingClassifier
    from rep_edge.signals import WindowSpec


def open_live(addresses: Mapping[str, str], spec: WindowSpec) -> dict[str, Source]:
    """Modality to its sensor. Raises InputError, also where two would read standard input; MissingExtraError."""
    from rep_edge.runtime.sources.address import open_source

    sources = {name: open_source(name, address, spec.stream(name)) for name, address in addresses.items()}
    if sum(source.address == "-" for source in sources.values()) > 1:
        raise InputError(f"{' and '.join(sources)}: standard input can be read by one; give another address")
    return sources


def hear(sources: Mapping[str, Source], stream: StreamingClassifier) -> Iterator[Prediction]:
    """One prediction a hop, until Ctrl-C, SIGTERM, or the end of all sources."""
    from rep_edge.runtime.live import live_predictions

    with _until_signalled() as stop, _sources_told():
        yield from live_predictions(sources, stream, stop)


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


@contextmanager
def _sources_told() -> Iterator[None]:
    from rep_edge.runtime.sources.live import LOGGER

    told, level = _Told(), LOGGER.level
    LOGGER.addHandler(told)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(told)
        LOGGER.setLevel(level)
