"""Where streams come from: NAME=URI of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rep_edge.errors import InputError
from rep_edge.runtime.sources.audio import AUDIO, read_audio
from rep_edge.runtime.sources.recording import Recording, existing
from rep_edge.runtime.sources.seismogram import SEISMOGRAM, read_seismogram
from rep_edge.signals import WindowSpec

SCHEMES = ("file",)


class Source(NamedTuple):
    """A modality's name and its file; channel: which one of the file's, None: the one that fits."""

    name: str
    path: Path
    channel: str | None


def parse_source(text: str, spec: WindowSpec) -> Source:
    """Read "acoustic=a.wav" or "seismic=file:///data/s.mseed?channel=EHZ".

    Raises InputError for another form, a modality that the bundle has not, and an unknown scheme://.
    """
    name, separator, uri = text.partition("=")
    if not separator or not uri or not name:
        raise InputError(f"--source {text}: must be NAME=PATH, such as {spec.names[0]}=recording.wav")
    if name not in spec.names:
        raise InputError(f"--source {text}: {name} is no modality of this bundle; it has {', '.join(spec.names)}")
    scheme, separator, rest = uri.partition("://")
    if separator and scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise InputError(f"--source {text}: {scheme}:// is not known; known are a path and {known}")
    path, _, query = (rest if separator else uri).partition("?")
    match = re.fullmatch(r"channel=([\w.]+)", query)
    if query and not match:
        raise InputError(f"--source {text}: ?{query} is no option of a file; it has ?channel=NAME")
    return Source(name, Path(path), match[1] if match else None)


def open_sources(texts: Iterable[str], spec: WindowSpec) -> dict[str, Recording]:
    """Modality to its recording, in modality order, for every NAME=URI given. Raises InputError, MissingExtraError."""
    sources: dict[str, Source] = {}
    for text in texts:
        source = parse_source(text, spec)
        if source.name in sources:
            raise InputError(f"--source {text}: {source.name} is given twice")
        sources[source.name] = source
    if not sources:
        raise InputError(f"--source: give at least one, such as --source {spec.names[0]}=recording.wav")
    return {name: _open(sources[name], spec) for name in spec.names if name in sources}


def _open(source: Source, spec: WindowSpec) -> Recording:
    if not existing(source.path):
        raise InputError(f"{source.path}: no such file")
    kind = source.path.suffix.lower()
    if kind in AUDIO:
        return read_audio(source.path, spec[source.name], source.channel)
    if kind in SEISMOGRAM:
        return read_seismogram(source.path, spec[source.name], source.channel)
    raise InputError(f"{source.path}: is of no known kind; known are {', '.join((*AUDIO, *SEISMOGRAM))}")
