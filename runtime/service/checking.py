"""What only shows when a configuration is laid beside its bundle: names that the bundle does not know."""

from __future__ import annotations

from collections.abc import Iterator

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.choosing import AUTO, BACKENDS, PRECISIONS
from rep_edge.runtime.events.problems import problems
from rep_edge.runtime.service.config import ServiceConfig
from rep_edge.runtime.sources.address import open_source

EXCLUSIVE = ("mic:", "-")
"""How sources begin whose samples can be read once: a sound card, standard input."""


def check(config: ServiceConfig, bundle: Bundle) -> list[str]:
    """Lines that begin with the key, "nodes[0].streams.acustic: is no modality ...", none where all is well."""
    manifest = bundle.manifest
    patterns = [manifest.spec.pattern_name(pattern) for pattern in manifest.spec.patterns()]
    events = problems(config.events, manifest.labels, patterns)
    return [
        *_streams(config, bundle),
        *_shared_sensors(config),
        *_engine(config, bundle),
        *(f"events.{problem}" for problem in events),
    ]


def _streams(config: ServiceConfig, bundle: Bundle) -> Iterator[str]:
    """Names that are no modality, and addresses that are none; no sensor is connected to."""
    spec = bundle.manifest.spec
    for i, node in enumerate(config.nodes):
        for name, stream in node.streams.items():
            key = f"nodes[{i}].streams.{name}"
            if name not in spec.names:
                yield f"{key}: is no modality of the bundle; it has {', '.join(spec.names)}"
                continue
            try:
                open_source(name, stream.source, spec.stream(name))
            except InputError as error:
                yield f"{key}.source: {str(error).removeprefix(f'{name}: ')}"


def _shared_sensors(config: ServiceConfig) -> Iterator[str]:
    """Two streams that would take one sensor's samples from each other."""
    taken: dict[str, str] = {}
    for i, node in enumerate(config.nodes):
        for name, stream in node.streams.items():
            key = f"nodes[{i}].streams.{name}"
            sensor = stream.source.partition("?")[0]
            if sensor.startswith(EXCLUSIVE) and sensor in taken:
                yield f"{key}.source: {sensor} is read by {taken[sensor]} already; it serves one stream"
            taken.setdefault(sensor, key)


def _engine(config: ServiceConfig, bundle: Bundle) -> Iterator[str]:
    if config.backend not in (AUTO, *BACKENDS):
        yield f"backend: is none of {', '.join((AUTO, *BACKENDS))}"
    if config.precision not in (AUTO, *PRECISIONS):
        yield f"precision: is none of {', '.join((AUTO, *PRECISIONS))}"
    elif config.precision != AUTO:
        try:
            bundle.require_precision(config.precision)
        except InputError as error:
            yield f"precision: {error}"
