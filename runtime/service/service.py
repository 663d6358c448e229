"""`rep-edge serve`: starts the parts in the order in which they need each other, and ends them in the other one."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rep_edge import __version__
from rep_edge.errors import InputError
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.events.clips import Clips
from rep_edge.runtime.service import systemd
from rep_edge.runtime.service.bundles import FoundBundle, find_bundle, keep
from rep_edge.runtime.service.checking import check
from rep_edge.runtime.service.config import NodeConfig, ServiceConfig, WebSettings
from rep_edge.runtime.service.lock import locked
from rep_edge.runtime.service.logs import start_logs
from rep_edge.runtime.service.loop import Loop, Member
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.node import ClipSpan, Node, NodeSettings
from rep_edge.runtime.service.outlets import Outlets
from rep_edge.runtime.service.reloading import Reloading
from rep_edge.runtime.service.secrets import required
from rep_edge.runtime.service.unfinished import end_unfinished
from rep_edge.runtime.service.upkeep import Upkeep
from rep_edge.runtime.service.view import ServiceView
from rep_edge.runtime.service.web.opening import open_page
from rep_edge.runtime.sinks.delivery import Delivery
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sinks.settings import open_sinks
from rep_edge.runtime.sources.address import open_source
from rep_edge.runtime.sources.feed import Feed
from rep_edge.runtime.symptoms import limits_of
from rep_edge.signals import WindowSpec

LOGGER = logging.getLogger("rep_edge.service")

QUEUE_S = 10.0
"""Seconds of samples that wait for the loop at most; then the oldest go."""

DRAIN_S = 3.0
"""Seconds that each sink may take for what is left when the service stops."""


def serve(config: ServiceConfig, environment: Mapping[str, str]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP has the bundle looked at anew.

    Raises InputError for what keeps the service from starting. Once it runs, nothing that a sensor, a sink, a visitor
    or a new bundle does ends it.
    """
    with ExitStack() as parts:
        parts.enter_context(locked(config.state_dir))
        start_logs(config.logs, config.state_dir)
        LOGGER.info("rep-edge %s starts; its state is in %s", __version__, config.state_dir)
        found = find_bundle(config.bundle, config.state_dir)
        _require_fit(config, found)
        outlets = _open_outlets(config, environment, found.spec, parts)
        view, durations = ServiceView(config.bundle.name, outlets), Durations()
        if config.web.enabled:
            _start_web(config.web, environment, view, durations, parts)
        stop = _stop_on_signals(parts)
        loop = _start_loop(config, found, outlets, durations, parts)
        reloading = _start_reloading(config, found, loop, parts)
        view.loop, view.reloading, view.not_ready = loop, reloading, ""
        systemd.ready()
        LOGGER.info("ready: %s, %s", loop.classifier.backend, loop.classifier.precision)
        upkeep = Upkeep(view, outlets, config.state_dir)
        while not stop.wait(1.0):
            upkeep.turn()
            if loop.failed:
                raise RuntimeError("the loop ended") from loop.failed
        view.not_ready = "stopping"
        systemd.stopping()
        LOGGER.info("stops")


def _require_fit(config: ServiceConfig, found: FoundBundle) -> None:
    """Raises InputError where the configuration names what the bundle lacks, be it the one before the one named."""
    misfits = check(config, open_bundle(found.copy))
    if misfits:
        raise InputError(misfits[0])


def _open_outlets(config: ServiceConfig, environment: Mapping[str, str], spec: WindowSpec, parts: ExitStack) -> Outlets:
    """Where events and recordings go; tracks that were going on when the service was killed are ended."""
    journal = Journal(config.state_dir / "journal.sqlite", config.journal)
    parts.callback(journal.close)
    end_unfinished(journal)
    clips = None
    if config.clips.enabled:
        clips = Clips(config.state_dir / "clips", spec, config.clips)
        parts.callback(clips.close)
    names = [node.name for node in config.nodes]
    sinks = open_sinks(config.sinks, lambda name: required(name, environment), names, config.state_dir)
    deliveries = tuple(Delivery(journal, sink) for sink in sinks)
    for delivery in deliveries:
        parts.callback(delivery.close, DRAIN_S)
    return Outlets(journal, clips, tuple(sinks), deliveries)


def _start_web(
    settings: WebSettings, environment: Mapping[str, str], view: ServiceView, durations: Durations, parts: ExitStack
) -> None:
    token = required(settings.token_env, environment) if settings.token_env else None
    server = open_page(view, durations, token, settings.host, settings.port)
    parts.callback(server.close)
    LOGGER.info("the page is at http://%s:%d/", settings.host, server.port)


def _start_loop(
    config: ServiceConfig, found: FoundBundle, outlets: Outlets, durations: Durations, parts: ExitStack
) -> Loop:
    """Warm every graph, open every sensor, and begin."""
    classifier = _load(config, found.copy)
    keep(found.copy, config.state_dir)
    members = [_member(config, node, classifier) for node in config.nodes]
    loop = Loop(members, classifier, outlets, durations, systemd.watchdog)
    parts.callback(lambda: loop.classifier.close())
    for member in members:
        for feed in member.feeds.values():
            feed.start()
    loop.start()
    parts.callback(loop.close)
    # All at once: each may take a second or two.
    parts.callback(_close_all, [feed for member in members for feed in member.feeds.values()])
    return loop


def _member(config: ServiceConfig, node: NodeConfig, classifier: Classifier) -> Member:
    spec, clips = classifier.spec, config.clips
    settings = NodeSettings(
        timing=config.timing,
        limits=limits_of(classifier.bundle.manifest, config.health),
        tracks=config.events,
        delays_s={name: stream.delay_s for name, stream in node.streams.items()},
        clip=ClipSpan(clips.before_s, clips.after_s, clips.longest_s) if clips.enabled else None,
    )
    feeds = {
        name: Feed(name, open_source(name, stream.source, spec.stream(name)), spec.stream(name), QUEUE_S)
        for name, stream in node.streams.items()
    }
    return Member(Node(node.name, spec, classifier.labels, settings), feeds)


def _start_reloading(config: ServiceConfig, found: FoundBundle, loop: Loop, parts: ExitStack) -> Reloading:
    reloading = Reloading(config.bundle, config.state_dir, found, load=lambda copy: _load(config, copy), swap=loop.swap)
    reloading.start()
    parts.callback(reloading.close)
    signal.signal(signal.SIGHUP, lambda *_: reloading.look())
    return reloading


def _load(config: ServiceConfig, copy: Path) -> Classifier:
    # One node never waits for its graph; with more of them its speed is how many they can be.
    prepack = len(config.nodes) > 1
    return Classifier.load(copy, backend=config.backend, precision=config.precision, prepack=prepack)


def _stop_on_signals(parts: ExitStack) -> threading.Event:
    """Set by SIGTERM and by Ctrl-C; a second one ends the process as it does everywhere."""
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        parts.callback(signal.signal, number, signal.signal(number, on_signal))
    return stop


def _close_all(feeds: Sequence[Feed]) -> None:
    closers = [threading.Thread(target=feed.close) for feed in feeds]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
