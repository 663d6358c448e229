"""The service in numbers, as Prometheus reads them: one look at its status for each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rep_edge.runtime.service.metrics import BOUNDS_S, Durations
from rep_edge.runtime.service.status import NodeStatus, ServiceStatus, StreamStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST

TAKES_PART = {"live", "suspect"}
"""States of a stream whose samples are classified."""

Sample = tuple[tuple[str, ...], float | None]
"""Values of the labels, and the number; None where there is none yet."""


class Exposition(Collector):
    """Exposition(view.status, durations).text()

    wrong_tokens: how often one was offered so far. The registry is its own, so that two services do not meet.
    """

    def __init__(
        self, status: Callable[[], ServiceStatus], durations: Durations, wrong_tokens: Callable[[], int]
    ) -> None:
        self._status, self._durations, self._wrong_tokens = status, durations, wrong_tokens
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """One scrape."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is follows from the status, which may not be there yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics, as of now."""
        status = self._status()
        yield from _of_service(status)
        yield from _of_nodes(status.nodes)
        yield from _of_streams([(node.name, stream) for node in status.nodes for stream in node.streams])
        yield from _of_sinks(status)
        yield _inference(self._durations)
        yield _counter("wrong_tokens", "Wrong tokens that the page was offered", (), [((), self._wrong_tokens())])


def _gauge(name: str, told: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    return _filled(GaugeMetricFamily(f"rep_edge_{name}", told, labels=labels), samples)


def _counter(name: str, told: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    return _filled(CounterMetricFamily(f"rep_edge_{name}", told, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[Sample]) -> Metric:
    for values, number in samples:
        if number is not None:
            family.add_metric(values, float(number))
    return family


def _of_service(status: ServiceStatus) -> Iterator[Metric]:
    what = {name: getattr(status, name) for name in ("version", "bundle", "created", "backend", "precision")}
    yield _gauge("info", "What runs", tuple(what), [(tuple(what.values()), 1)])
    yield _gauge("ready", "1 once the service works", (), [((), not status.not_ready)])
    yield _gauge("start_timestamp_seconds", "When the service started, since 1970", (), [((), status.started_s)])
    yield _counter("bundle_reloads", "Bundles taken over while running", (), [((), status.reloads)])
    yield _counter("events_lost", "Events that neither disk nor memory took", (), [((), status.events_lost)])
    yield _gauge("journal_bytes", "Size of the journal", (), [((), status.journal_bytes)])
    yield _gauge("clips_bytes", "Size of all clips", (), [((), status.clips_bytes)])


def _of_nodes(nodes: Iterable[NodeStatus]) -> Iterator[Metric]:
    nodes = tuple(nodes)

    def each(value: Callable[[NodeStatus], float]) -> list[Sample]:
        return [((node.name,), value(node)) for node in nodes]

    by_node = ("node",)
    yield _counter("windows", "Hops decided", by_node, each(lambda node: node.windows))
    yield _counter("windows_without", "Hops for which no stream was live", by_node, each(lambda node: node.without))
    yield _counter("pattern_switches", "Changes of the pattern", by_node, each(lambda node: node.switches))
    yield _gauge("lag_seconds", "How far the latest window is behind now", by_node, each(lambda node: node.lag_s))
    current = [
        ((node.name, pattern), pattern == node.pattern)
        for node in nodes
        for pattern in sorted({*node.patterns, node.pattern})
    ]
    yield _gauge("active_pattern", "1 for the pattern of the latest window", ("node", "pattern"), current)
    begun = [((node.name, label), count) for node in nodes for label, count in node.events.items()]
    yield _counter("events", "Tracks begun", ("node", "class"), begun)


def _of_streams(streams: list[tuple[str, StreamStatus]]) -> Iterator[Metric]:
    def each(value: Callable[[StreamStatus], float | None]) -> list[Sample]:
        return [((node, stream.name), value(stream)) for node, stream in streams]

    labels = ("node", "stream")
    yield _gauge("stream_up", "1 while the stream takes part", labels, each(lambda s: s.state in TAKES_PART))
    newest = each(lambda s: s.last_sample_s)
    yield _gauge("stream_last_sample_timestamp_seconds", "Time of the newest sample, since 1970", labels, newest)
    yield _gauge("stream_level", "RMS of the latest window in the stream's unit", labels, each(lambda s: s.level))
    yield _counter("stream_gaps", "Gaps that tore a window", labels, each(lambda s: s.gaps))
    yield _counter("stream_dropped", "Chunks that a full queue lost", labels, each(lambda s: s.dropped))
    yield _counter("stream_reconnects", "Times that the sensor was opened again", labels, each(lambda s: s.reconnects))
    refused = [((node, s.name, reason), count) for node, s in streams for reason, count in s.refused.items()]
    yield _counter("stream_refused", "What a sensor sent that was not taken", (*labels, "reason"), refused)


def _of_sinks(status: ServiceStatus) -> Iterator[Metric]:
    sinks, label = status.sinks, ("sink",)
    yield _gauge("sink_behind", "Events still to be delivered", label, [((s.name,), s.behind) for s in sinks])
    yield _counter("sink_delivered", "Events delivered", label, [((s.name,), s.delivered) for s in sinks])
    yield _counter("sink_lost", "Events lost before they were delivered", label, [((s.name,), s.lost) for s in sinks])


def _inference(durations: Durations) -> Metric:
    told = "Time of graph and pre-checks of a window"
    family = HistogramMetricFamily("rep_edge_inference_duration_seconds", told, labels=("pattern", "backend"))
    bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
    for key, (counts, sum_s) in durations.histograms().items():
        family.add_metric(key, list(zip(bounds, map(float, accumulate(counts)), strict=True)), sum_s)
    return family
