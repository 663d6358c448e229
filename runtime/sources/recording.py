"""A file as a stream: its samples at the model's rate, in pieces without gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.signals import Modality

AUDIO = (".wav", ".flac", ".ogg", ".aiff", ".aif")
SEISMOGRAM = (".ms", ".mseed", ".miniseed", ".seed")


class Piece(NamedTuple):
    """Samples without a gap: float32 [channels, n], the first one at `start_s` (s; from the file's start, or epoch)."""

    start_s: float
    values: NDArray[np.float32]


class Recording(NamedTuple):
    """What a file holds for one modality.

    absolute: whether times are seconds since 1970 (miniSEED) and not from the file's start (audio).
    note: what people should know: the channel taken, the rate converted from, gaps.
    """

    pieces: tuple[Piece, ...]
    absolute: bool
    note: str


def read_recording(path: Path, modality: Modality, channel: str | None = None) -> Recording:
    """Read a WAV, FLAC or miniSEED file for `modality`.

    channel: a SEED channel code such as "EHZ"; without it a miniSEED file with several takes the vertical geophone.
    Raises InputError for a missing, unreadable or empty file and a channel that is not there; MissingExtraError.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind in AUDIO:
        recording = _read_audio(path)
    elif kind in SEISMOGRAM:
        recording = _read_seismogram(path, channel)
    else:
        raise InputError(f"{path}: is of no known kind; known are {', '.join((*AUDIO, *SEISMOGRAM))}")
    rate_hz, found = recording
    return _at_rate(path, modality, rate_hz, found)


class _Found(NamedTuple):
    pieces: list[Piece]
    absolute: bool
    note: str


def _read_audio(path: Path) -> tuple[float, _Found]:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("sensors", "soundfile") from error
    try:
        values, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise InputError(f"{path}: cannot be read as audio ({str(error).strip()})") from error
    return float(rate_hz), _Found([Piece(0.0, np.ascontiguousarray(values.T))], False, f"{values.shape[1]} channel(s)")


def _read_seismogram(path: Path, channel: str | None) -> tuple[float, _Found]:
    try:
        from pymseed import MiniSEEDError, MS3TraceList
    except ImportError as error:
        raise MissingExtraError("sensors", "pymseed") from error
    try:
        traces = {_code(trace.sourceid): trace for trace in MS3TraceList.from_file(str(path), unpack_data=True)}
    except (MiniSEEDError, ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as miniSEED ({str(error).strip().splitlines()[0]})") from error
    if not traces:
        raise InputError(f"{path}: holds no records")
    code = _choose(path, list(traces), channel)
    segments = list(traces[code])
    rates = {float(segment.samprate) for segment in segments}
    if len(rates) != 1:
        raise InputError(f"{path}: channel {code} changes its rate ({', '.join(map(str, sorted(rates)))} Hz)")
    pieces = [_piece(segment) for segment in segments]
    others = f", of {', '.join(traces)}" if len(traces) > 1 else ""
    gaps = f", {len(pieces) - 1} gap(s)" if len(pieces) > 1 else ""
    return rates.pop(), _Found(pieces, True, f"channel {code}{others}{gaps}")


def _piece(segment: Any) -> Piece:
    return Piece(float(segment.starttime_seconds), np.array(segment.np_datasamples, dtype=np.float32)[None])


def _code(sourceid: str) -> str:
    """The SEED channel code of an FDSN source identifier: "FDSN:AM_R24FA_00_E_H_Z" -> "EHZ"."""
    return "".join(sourceid.split("_")[-3:])


def _choose(path: Path, codes: list[str], wanted: str | None) -> str:
    """The channel asked for; else the only one, else the vertical geophone (an "H" instrument), if there is one."""
    if wanted is not None:
        if wanted not in codes:
            raise InputError(f"{path}: has no channel {wanted}; it has {', '.join(codes)}")
        return wanted
    vertical = [code for code in codes if code[1:] == "HZ"] if len(codes) > 1 else codes
    if len(vertical) != 1:
        raise InputError(f"{path}: has the channels {', '.join(codes)}; name one: {path.name}?channel={codes[0]}")
    return vertical[0]


def _at_rate(path: Path, modality: Modality, rate_hz: float, found: _Found) -> Recording:
    """Every piece with the modality's channels and at its rate."""
    have = found.pieces[0].values.shape[0]
    if have != modality.channels and modality.channels != 1:
        raise InputError(f"{path}: has {have} channels, {modality.name} needs {modality.channels}")
    note = found.note
    pieces = found.pieces
    if have != modality.channels:
        pieces = [Piece(p.start_s, p.values.mean(axis=0, keepdims=True)) for p in pieces]
        note += ", averaged"
    if rate_hz != modality.rate_hz:
        pieces = [Piece(p.start_s, _resample(p.values, rate_hz, modality.rate_hz)) for p in pieces]
        note += f", resampled from {rate_hz:g} to {modality.rate_hz:g} Hz"
    if not any(piece.values.size for piece in pieces):
        raise InputError(f"{path}: holds no samples")
    return Recording(tuple(pieces), found.absolute, note)


def _resample(values: NDArray[np.float32], rate_hz: float, wanted_hz: float) -> NDArray[np.float32]:
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError("sensors", "soxr") from error
    resampled: NDArray[np.float32] = soxr.resample(values.T, rate_hz, wanted_hz).T
    return np.ascontiguousarray(resampled)
