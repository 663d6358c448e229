"""Which reader a file needs."""

from __future__ import annotations

from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.runtime.sources.audio import AUDIO, read_audio
from rep_edge.runtime.sources.recording import Recording, existing
from rep_edge.runtime.sources.seismogram import SEISMOGRAM, read_seismogram
from rep_edge.signals import Stream


def open_recording(path: Path, modality: Stream, channel: str | None = None) -> Recording:
    """The file as a stream; channel: which one of the file's, None: the one that fits.

    Raises InputError for a file that is not there, of no known kind, or damaged; MissingExtraError.
    """
    if not existing(path):
        raise InputError(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind in AUDIO:
        return read_audio(path, modality, channel)
    if kind in SEISMOGRAM:
        return read_seismogram(path, modality, channel)
    raise InputError(f"{path}: is of no known kind; known are {', '.join((*AUDIO, *SEISMOGRAM))}")
