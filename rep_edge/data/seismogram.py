"""Read miniSEED files: choose the channels, put the pieces on one time axis, and find the gaps."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rep_edge.data.waveform import Waveform, listed, runs_of
from rep_edge.errors import InputError, MissingExtraError
from rep_edge.signals import Stream

if TYPE_CHECKING:
    from obspy import Stream as Traces

SEISMOGRAM_SUFFIXES = (".mseed", ".ms", ".miniseed")

LONGEST_GAP_S = 86400.0
"""Seconds; a longer gap is no gap but a wrong clock, and filling it could exhaust the memory."""


def read_seismogram(path: Path, modality: Stream) -> Waveform:
    """The chosen channels of the file in counts; 0 s is the first sample of the earliest chosen channel.

    Channels: all of them, sorted by code, where the modality has as many; the only one ending in "HZ" (the vertical
    geophone) where it has one. Gaps are filled by straight lines and listed. Raises InputError for a file that is
    empty, damaged or cut off, that holds NaN or a leap in time, or whose channels or rates do not fit.
    """
    stream = _decode(path)
    stream.traces = [trace for trace in stream.traces if trace.data.dtype.kind in "iuf" and trace.stats.npts]
    ids = sorted({str(trace.id) for trace in stream})
    if not ids:
        raise InputError(f"{path}: the file holds no samples; remove it or record it again")
    chosen = choose_channels(path, ids, modality)
    stream.traces = [trace for trace in stream.traces if trace.id in chosen]
    rates = sorted({float(trace.stats.sampling_rate) for trace in stream})
    if len(rates) > 1:
        found = " and ".join(f"{rate:g}" for rate in rates)
        raise InputError(f"{path}: the rate changes inside the file ({found} Hz); split it into one file per rate")
    _refuse_leap(path, stream)
    samples, missing = _on_one_axis(stream, chosen)
    if not np.isfinite(samples).all():
        raise InputError(f"{path}: holds NaN or infinite samples; export the file again without them")
    return Waveform(samples, rates[0], runs_of(missing, rates[0]))


def choose_channels(path: Path, ids: Sequence[str], modality: Stream) -> list[str]:
    """The SEED identifiers that make the channels of the modality, in order. Raises InputError that lists them all."""
    if len(ids) == modality.channels:
        return sorted(ids, key=lambda name: (name.rsplit(".", 1)[-1], name))
    vertical = [name for name in ids if name.endswith("HZ")]
    if modality.channels == 1 and len(vertical) == 1:
        return vertical
    rule = " (or one channel whose code ends with HZ)" if modality.channels == 1 else ""
    raise InputError(
        f"{path}: has the channels {listed(ids)}, modality {modality.name} has {modality.channels}; "
        f"write a file with exactly {modality.channels}{rule}, or set channels: {len(ids)} in the configuration"
    )


def _decode(path: Path) -> Traces:
    """All traces of the file. What obspy's reader only warns about is an error: it means lost samples."""
    try:
        import obspy
        from obspy.io.mseed import InternalMSEEDWarning
    except ImportError as error:
        raise MissingExtraError("train", "obspy") from error
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", InternalMSEEDWarning)
            # From memory: obspy takes a name for a pattern or an address.
            stream = obspy.read(io.BytesIO(content), format="MSEED")
    except Exception as error:  # obspy raises plain Exception, ValueError and its own for a file that is no miniSEED
        reason = (
            str(error).splitlines()[0] if not str(error).startswith("Cannot open") and str(error) else "no miniSEED"
        )
        raise InputError(f"{path}: cannot be decoded ({reason.rstrip('.')}); copy the file again") from error
    record_bytes = min(int(trace.stats.mseed.record_length) for trace in stream)
    if len(content) % record_bytes:
        raise InputError(f"{path}: the file is cut off inside a record; copy it again")
    return stream


def _refuse_leap(path: Path, stream: Traces) -> None:
    """Raises InputError for a gap of more than a day: a recorder without a clock starts in another year."""
    pieces = sorted((trace.stats.starttime, trace.stats.endtime) for trace in stream)
    reached = pieces[0][1]
    for start, end in pieces:
        if start - reached > LONGEST_GAP_S:
            raise InputError(f"{path}: time leaps from {reached} to {start}; the clock was set there: split the file")
        reached = max(reached, end)


def _on_one_axis(stream: Traces, ids: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Samples float32 [channels, n] with gaps filled by straight lines, and where any channel has a gap, bool [n]."""
    for trace in stream:
        trace.data = trace.data.astype(np.float64)
    stream.merge(method=1)
    start = min(trace.stats.starttime for trace in stream)
    end = max(trace.stats.endtime for trace in stream)
    stream.trim(start, end, pad=True)
    by_id = {str(trace.id): trace.data for trace in stream}
    count = min(len(by_id[name]) for name in ids)
    samples = np.empty((len(ids), count), dtype=np.float32)
    missing = np.zeros(count, dtype=np.bool_)
    for row, name in enumerate(ids):
        values = np.ma.asarray(by_id[name])[:count]
        absent = np.ma.getmaskarray(values)
        present = np.flatnonzero(~absent)
        samples[row] = np.interp(np.arange(count), present, values.data[present])
        missing |= absent
    return samples, missing
