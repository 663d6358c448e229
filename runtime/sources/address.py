"""Where a stream comes from: NAME=URI of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qsl

from rep_edge.errors import InputError
from rep_edge.runtime.sources.recording import Recording, read_recording
from rep_edge.signals import WindowSpec

SCHEMES = ("file",)


def open_sources(addresses: Iterable[str], spec: WindowSpec) -> dict[str, Recording]:
    """NAME=URI for any of the modalities to what each holds. URI: a path, or file://path, with ?channel=CODE for
    miniSEED.

    Raises InputError for a form, name, scheme or file that is none.
    """
    found: dict[str, Recording] = {}
    for address in addresses:
        name, separator, uri = address.partition("=")
        if not separator or not uri:
            raise InputError(f"--source {address}: must be NAME=PATH, such as {spec.names[0]}=recording.wav")
        if name not in spec.names:
            raise InputError(
                f"--source {address}: {name} is no modality of this bundle; it has {', '.join(spec.names)}"
            )
        if name in found:
            raise InputError(f"--source {address}: {name} is given twice")
        found[name] = _open(address, uri, spec, name)
    if not found:
        raise InputError(f"--source: give at least one, such as {spec.names[0]}=recording.wav")
    return found


def _open(address: str, uri: str, spec: WindowSpec, name: str) -> Recording:
    scheme, separator, rest = uri.partition("://")
    if separator and scheme not in SCHEMES:
        raise InputError(f"--source {address}: {scheme}:// is not known; known are a path and file://")
    path, _, query = (rest if separator else uri).partition("?")
    options = dict(parse_qsl(query))
    channel = options.pop("channel", None)
    if options:
        raise InputError(f"--source {address}: {', '.join(options)} is no option of a file; channel is")
    return read_recording(Path(path), spec[name], channel)
