"""miniSEED files as streams: one channel of a station, or as many as the modality has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.recording import PIECE_S, Piece, Recording, same_rate
from rep_edge.signals import Stream

SEISMOGRAM = (".mseed", ".ms", ".miniseed")

LONGEST_GAP_S = 86400.0
"""Seconds; a longer gap is no gap but a wrong clock."""


def read_seismogram(path: Path, modality: Stream, channel: str | None = None) -> Recording:
    """The chosen channels of the file, in counts, on its own time line since 1970; gaps stay gaps.

    channel: "EHZ", or longer where that is not one alone, "R24FA.00.EHZ". Without it the file's channels, sorted, where
    the modality has as many; else the one vertical geophone, whose code ends in "HZ". Raises InputError for a file that
    is empty, damaged or cut off, and a channel that is not there; MissingExtraError without pymseed or, at another
    rate, soxr.
    """
    traces = _read(path)
    chosen = _choose(path, sorted(traces), modality, channel)
    segments = _side_by_side(path, [traces[name] for name in chosen])
    rates = sorted({rate for rate, _ in segments})
    if not same_rate(rates[0], rates[-1]):
        raise InputError(f"{path}: its rate changes from {rates[0]:g} to {rates[-1]:g} Hz; split it into two files")
    rate_hz = rates[0]
    note = f"{rate_hz:g} Hz, channel {' '.join(chosen)}"
    left = [name for name in sorted(traces) if name not in chosen]
    if left:
        note += f" (not {', '.join(left)})"
    resampled = not same_rate(rate_hz, modality.rate_hz)
    if resampled:
        segments = [(rate, Piece(p.start_s, _resample(p.values, rate, modality.rate_hz))) for rate, p in segments]
        note += f", resampled to {modality.rate_hz:g} Hz"
    gaps = _gaps(path, [piece for _, piece in segments], modality.rate_hz)
    if gaps:
        note += f", {len(gaps)} {'gap' if len(gaps) == 1 else 'gaps'} of {sum(gaps):.1f} s together"
    begin_s = segments[0][1].start_s
    end_s = max(p.start_s + p.values.shape[1] / modality.rate_hz for _, p in segments)

    def pieces() -> Iterator[Piece]:
        size = max(1, round(PIECE_S * modality.rate_hz))
        for _, piece in segments:
            for at in range(0, piece.values.shape[1], size):
                yield Piece(piece.start_s + at / modality.rate_hz, piece.values[:, at : at + size])

    return Recording(begin_s, end_s - begin_s, True, note, pieces)


def _read(path: Path) -> dict[str, list[tuple[float, Piece]]]:
    """Name (network.station.location.channel) to its segments without gaps, by time, each with its rate in Hz."""
    try:
        import pymseed
    except ImportError as error:
        raise MissingExtraError("sensors", "pymseed") from error
    try:
        # Record by record first: a list of traces leaves out a record that is cut off without a word.
        for _ in pymseed.MS3Record.from_file(str(path), unpack_data=True):
            continue
        traces = list(pymseed.MS3TraceList.from_file(str(path), unpack_data=True))
        found = {
            _name(trace.sourceid): [_segment(s) for s in trace if s.sampletype in ("i", "f", "d")] for trace in traces
        }
    except (pymseed.PymseedError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise InputError(f"{path}: cannot be decoded ({reason}); copy the file again") from error
    found = {name: sorted((s for s in segments if s[1].values.size), key=_start) for name, segments in found.items()}
    found = {name: segments for name, segments in found.items() if segments}
    if not found:
        raise InputError(f"{path}: the file holds no samples; record it again")
    return found


def _start(segment: tuple[float, Piece]) -> float:
    return segment[1].start_s


def _segment(segment: Any) -> tuple[float, Piece]:
    values = np.array(segment.np_datasamples, dtype=np.float32)[None]
    return float(segment.samprate), Piece(float(segment.starttime_seconds), values)


def _name(sourceid: str) -> str:
    """The station's names joined by dots: "FDSN:AM_R24FA_00_E_H_Z" -> "AM.R24FA.00.EHZ"."""
    network, station, location, *code = sourceid.removeprefix("FDSN:").split("_")
    return ".".join((network, station, location, "".join(code)))


def _choose(path: Path, names: Sequence[str], modality: Stream, wanted: str | None) -> list[str]:
    """The names of the channels to take. Raises InputError that lists them all."""
    if wanted is not None:
        found = [name for name in names if f".{name}".endswith(f".{wanted}")]
        if len(found) != 1 or modality.channels != 1:
            problem = "no channel" if not found else f"{len(found)} channels called"
            raise InputError(f"{path}: has {problem} {wanted} to take alone; it has {', '.join(names)}")
        return found
    if len(names) == modality.channels:
        return sorted(names, key=lambda name: (name.rsplit(".", 1)[-1], name))
    vertical = [name for name in names if name.endswith("HZ")]
    if modality.channels == 1 and len(vertical) == 1:
        return vertical
    way = f"name one: {path.name}?channel={names[0].rsplit('.', 1)[-1]}" if modality.channels == 1 else "give as many"
    raise InputError(f"{path}: has the channels {', '.join(names)}, {modality.name} has {modality.channels}; {way}")


def _side_by_side(path: Path, channels: Sequence[Sequence[tuple[float, Piece]]]) -> list[tuple[float, Piece]]:
    """Channels that start and stop together as one, [channels, n] in each segment."""
    joined = []
    for segments in zip(*channels, strict=False):
        rate_hz, first = segments[0]
        for rate, piece in segments:
            together = abs(piece.start_s - first.start_s) * rate_hz <= 0.5
            if not together or rate != rate_hz or piece.values.shape != first.values.shape:
                raise InputError(f"{path}: its channels do not start and stop together; give a file in which they do")
        joined.append((rate_hz, Piece(first.start_s, np.concatenate([piece.values for _, piece in segments]))))
    if any(len(segments) != len(joined) for segments in channels):
        raise InputError(f"{path}: its channels do not have the same gaps; give a file in which they do")
    return joined


def _gaps(path: Path, pieces: Sequence[Piece], rate_hz: float) -> list[float]:
    """Lengths of the gaps in s. Raises InputError for one that no recorder leaves."""
    gaps = []
    reached_s = pieces[0].start_s
    for piece in pieces:
        gap_s = piece.start_s - reached_s
        if gap_s > LONGEST_GAP_S:
            raise InputError(f"{path}: time leaps by {gap_s / 86400:.0f} days; its clock was set there: split the file")
        if gap_s > 0.5 / rate_hz:
            gaps.append(gap_s)
        reached_s = max(reached_s, piece.start_s + piece.values.shape[1] / rate_hz)
    return gaps


def _resample(values: NDArray[np.float32], rate_hz: float, wanted_hz: float) -> NDArray[np.float32]:
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError("sensors", "soxr") from error
    return np.ascontiguousarray(soxr.resample(values.T, rate_hz, wanted_hz).T)
