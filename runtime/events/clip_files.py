"""A clip as files: one waveform and one picture for each stream, and clip.json that says what they hold."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.events.spectrogram import spectrogram
from rep_edge.signals import Stream

CLIP_FILE = "clip.json"

ROWS, COLUMNS = 160, 640
"""Size of a picture."""

MOST_FLAC_HZ, MOST_FLAC_CHANNELS = 655_350, 8
"""What the format can hold."""

MOST_STEIM = 2.0**28
"""Largest count that Steim-2 packs whatever follows it: differences have 30 bits."""

BANDS = ((1000.0, "G"), (250.0, "D"), (80.0, "E"), (10.0, "S"), (1.01, "M"))
"""Lowest rate in Hz of a SEED band code for short-period sensors."""

ORIENTATIONS = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Codes of channels, in an order that sorting keeps."""


class StreamClip(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of a clip. file, picture: their names; gaps: (start, end) in s from the start of the clip."""

    file: str
    picture: str
    gaps: tuple[tuple[float, float], ...]


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """What clip.json holds.

    event: the last message about the track; start_s, end_s: of the recording, in s since 1970.
    modalities: all that the bundle has; streams: those of which something came.
    """

    event: Event
    start_s: float
    end_s: float
    modalities: tuple[Stream, ...]
    streams: dict[str, StreamClip]


def require_writers(modalities: Sequence[Stream]) -> None:
    """Raises MissingExtraError where a package is missing that clips of these modalities need."""
    needed = [("service", "PIL", "pillow")]
    needed += [
        ("sensors", "soundfile", "soundfile") if _is_sound(m) else ("sensors", "pymseed", "pymseed") for m in modalities
    ]
    for extra, module, package in needed:
        try:
            __import__(module)
        except ImportError as error:
            raise MissingExtraError(extra, package) from error


def clip_files(
    event: Event, waveforms: Mapping[str, NDArray[np.float32]], start_s: float, modalities: Sequence[Stream]
) -> dict[str, bytes]:
    """Name to content of a clip's files, clip.json last.

    waveforms: modality -> float32 [channels, n], what is not finite is a gap; start_s: of their first sample, in s
    since 1970. Sound, of a whole rate and in full scale, becomes FLAC of 24 bits with zeros in gaps; all else becomes
    miniSEED, in which gaps are left out. Raises InputError where no stream has a sample.
    """
    came = {m: waveforms[m.name] for m in modalities if m.name in waveforms and _came(waveforms[m.name]).any()}
    if not came:
        raise InputError(f"clip {event.track}: no stream has a sample of it")
    contents: dict[str, bytes] = {}
    streams: dict[str, StreamClip] = {}
    for modality, values in came.items():
        file, picture = f"{modality.name}.{'flac' if _is_sound(modality) else 'mseed'}", f"{modality.name}.png"
        contents[file] = (
            flac(values, modality) if _is_sound(modality) else miniseed(values, modality, start_s, event.node)
        )
        contents[picture] = png(spectrogram(values, modality.rate_hz, ROWS, COLUMNS))
        gaps = tuple((a / modality.rate_hz, b / modality.rate_hz) for a, b in _runs(~_came(values)))
        streams[modality.name] = StreamClip(file=file, picture=picture, gaps=gaps)
    length_s = max(values.shape[1] / modality.rate_hz for modality, values in came.items())
    clip = Clip(event=event, start_s=start_s, end_s=start_s + length_s, modalities=tuple(modalities), streams=streams)
    contents[CLIP_FILE] = msgspec.json.encode(clip)
    return contents


def flac(values: NDArray[np.float32], modality: Stream) -> bytes:
    """Samples [channels, n] as FLAC of 24 bits; what is above full scale is clipped, what is not finite is 0."""
    import soundfile

    bounded = np.clip(np.where(np.isfinite(values), values, 0.0), -1.0, 1.0)
    file = io.BytesIO()
    soundfile.write(file, bounded.T, round(modality.rate_hz), format="FLAC", subtype="PCM_24")
    return file.getvalue()


def miniseed(values: NDArray[np.float32], modality: Stream, start_s: float, node: str) -> bytes:
    """Samples [channels, n] as miniSEED 2, a record for each stretch in which all channels are finite.

    Whole numbers are packed by Steim-2, others are float32. Network XX (not registered), the station is the node's
    name, instrument code Y (not specified). Raises InputError for more channels than there are codes.
    """
    from pymseed import DataEncoding, MS3TraceList

    if modality.channels > len(ORIENTATIONS):
        raise InputError(f"{modality.name}: a clip has {len(ORIENTATIONS)} channels at most, not {modality.channels}")
    came = _came(values)
    kept = values[:, came]
    whole = bool((kept == np.rint(kept)).all()) and bool((np.abs(kept) <= MOST_STEIM).all())
    station = re.sub("[^A-Z0-9]", "", node.upper())[:5] or "NODE"
    traces = MS3TraceList()
    for first, stop in _runs(came):
        for channel, orientation in zip(values, ORIENTATIONS, strict=False):
            traces.add_data(
                f"FDSN:XX_{station}__{_band(modality.rate_hz)}_Y_{orientation}",
                channel[first:stop].astype(np.int32 if whole else np.float32),
                "i" if whole else "f",
                modality.rate_hz,
                starttime=round((start_s + first / modality.rate_hz) * 1e9),
            )
    encoding = DataEncoding.STEIM2 if whole else DataEncoding.FLOAT32
    return b"".join(traces.generate(max_record_length=4096, encoding=encoding, format_version=2))


def png(image: NDArray[np.uint8]) -> bytes:
    """An image [rows, columns, 3] as PNG of 256 colours, a third of the size that it has with all."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).quantize(256).save(file, "PNG")
    return file.getvalue()


def _came(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where all channels have a sample, [n]."""
    return np.asarray(np.isfinite(values).all(axis=0))


def _is_sound(modality: Stream) -> bool:
    fits = modality.rate_hz <= MOST_FLAC_HZ and modality.channels <= MOST_FLAC_CHANNELS
    return modality.unit == "full scale" and float(modality.rate_hz).is_integer() and fits


def _band(rate_hz: float) -> str:
    return next((code for lowest_hz, code in BANDS if rate_hz >= lowest_hz), "L")


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """(first, stop) of every run of True in mask [n]."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).tolist()
    return zip(edges[::2], edges[1::2], strict=True)
