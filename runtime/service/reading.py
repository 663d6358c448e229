"""The configuration file: read, checked key by key, its paths and secrets filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from rep_edge.runtime.service.config import NodeConfig, ServiceConfig
from rep_edge.runtime.service.explaining import find_fault, joined
from rep_edge.runtime.service.secrets import filled_in, required
from rep_edge.runtime.service.yaml_lines import Document, read_yaml

RELATIVE = re.compile(r"(?P<scheme>(?:file|sds):(?://)?|(?![a-z]+:|-(?:\?|$)))(?P<path>[^/].*)", re.DOTALL)
"""Addresses that are a file or folder and do not begin with "/"."""


def read_config(path: Path, environment: Mapping[str, str]) -> ServiceConfig:
    """The configuration in a file, with absolute paths and with the environment's values in its addresses.

    Raises InputError with file, line and key, also for a variable that is named and not set.
    """
    document = read_yaml(path)
    config = config_of(document)
    for key, name in _variables("", document.values):
        _require(document, key, name, environment)
    nodes = tuple(_filled_in(document, i, node, environment) for i, node in enumerate(config.nodes))
    return msgspec.structs.replace(config, nodes=nodes)


def config_of(document: Document) -> ServiceConfig:
    """What the document says, with absolute paths; addresses as they are written. Raises InputError."""
    folder = document.path.absolute().parent

    def absolute(kind: type, value: object) -> Path:
        # Paths are the one type that msgspec does not know.
        if not (isinstance(value, str) and value and value.isprintable()):
            raise ValueError("must be a path")
        return Path(os.path.normpath(folder / value))

    def convert(values: object) -> ServiceConfig:
        return msgspec.convert(values, ServiceConfig, dec_hook=absolute)

    fault = find_fault(document.values, ServiceConfig, convert)
    if fault is not None:
        raise document.problem(*fault)
    config = convert(document.values)
    return msgspec.structs.replace(config, state_dir=Path(os.path.normpath(folder / config.state_dir)))


def located(path: Path, problems: Iterable[str]) -> list[str]:
    """Lines that begin with a key, "nodes[0].name: is ...", with file and line before it."""
    document = read_yaml(path)
    return [str(document.problem(*problem.split(": ", 1))) for problem in problems]


def _variables(key: str, value: object) -> Iterator[tuple[str, str]]:
    """Keys that name an environment variable, and the name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.endswith("_env") and isinstance(inner, str):
                yield joined(key, name), inner
            else:
                yield from _variables(joined(key, name), inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _variables(f"{key}[{i}]", inner)


def _require(document: Document, key: str, name: str, environment: Mapping[str, str]) -> None:
    try:
        required(name, environment)
    except ValueError as error:
        raise document.problem(key, str(error)) from error


def _filled_in(document: Document, i: int, node: NodeConfig, environment: Mapping[str, str]) -> NodeConfig:
    """The node with addresses that can be opened."""
    streams = {}
    for name, stream in node.streams.items():
        try:
            source = _below(document.path.absolute().parent, filled_in(stream.source, environment))
        except ValueError as error:
            raise document.problem(f"nodes[{i}].streams.{name}.source", str(error)) from error
        streams[name] = msgspec.structs.replace(stream, source=source)
    return msgspec.structs.replace(node, streams=streams)


def _below(folder: Path, source: str) -> str:
    """The address with an absolute path, where it is a path."""
    match = RELATIVE.fullmatch(source)
    return f"{match['scheme']}{os.path.normpath(folder / match['path'])}" if match else source
