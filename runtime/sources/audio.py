"""WAV and FLAC files as streams, read as they are played: an hour of sound takes no more memory than a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.recording import PIECE_S, Piece, Recording, same_rate
from rep_edge.signals import Stream

AUDIO = (".wav", ".flac")

_UNKNOWN_LENGTH = 0x7FFFF000
"""Recorders that write into a pipe put this size or a larger one into the header: the length is then not known."""


def read_audio(path: Path, modality: Stream, channel: str | None = None) -> Recording:
    """The file as a stream that begins at 0 s; whole-number formats are scaled to -1..1.

    channel: which one to take, counted from 1, where the file has more than the modality. Headers hold whole-number
    rates only: 333 Hz is taken for a modality's 333.33 Hz. Raises InputError for a file that is empty, damaged or cut
    off, and for other channels; MissingExtraError without soundfile or, at another rate, soxr.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("sensors", "soundfile") from error
    try:
        with soundfile.SoundFile(path) as file:
            frames, rate_hz, channels = int(file.frames), float(file.samplerate), int(file.channels)
            whole = frames == _frames_read(file) if path.suffix.lower() == ".flac" else not _cut_off(path)
    except (soundfile.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise InputError(f"{path}: cannot be decoded ({str(reason).strip().rstrip('.')}); copy it again") from error
    if not whole:
        raise InputError(f"{path}: the file is cut off, its header promises more than it holds; copy it again")
    if not frames:
        raise InputError(f"{path}: the file holds no samples; record it again")
    rows, which = _rows(path, modality, channels, channel)
    resampled = not same_rate(rate_hz, modality.rate_hz) and rate_hz != round(modality.rate_hz)
    note = f"{rate_hz:g} Hz{which}"
    if resampled:
        _new_resampler(rate_hz, modality)
        note += f", resampled to {modality.rate_hz:g} Hz"

    def pieces() -> Iterator[Piece]:
        resampler = _new_resampler(rate_hz, modality) if resampled else None
        sent, size = 0, max(1, round(PIECE_S * modality.rate_hz))
        for values, last in _blocks(path, rows, max(1, round(PIECE_S * rate_hz))):
            if resampler is not None:
                values = np.ascontiguousarray(resampler.resample_chunk(values.T, last=last).T)
            # A resampler holds back what it needs and then gives more at once.
            for at in range(0, values.shape[1], size):
                piece = values[:, at : at + size]
                yield Piece(sent / modality.rate_hz, piece)
                sent += piece.shape[1]

    return Recording(0.0, frames / (rate_hz if resampled else modality.rate_hz), False, note, pieces)


def _rows(path: Path, modality: Stream, channels: int, channel: str | None) -> tuple[slice, str]:
    """Which of the file's channels to take, and that in words."""
    if channel is None:
        if channels == modality.channels:
            return slice(None), ""
        ways = f"take one of them: {path.name}?channel=1" if modality.channels == 1 < channels else "give another file"
        raise InputError(f"{path}: has {channels} channels, {modality.name} has {modality.channels}; {ways}")
    if not channel.isdecimal() or not 1 <= int(channel) <= channels or modality.channels != 1:
        raise InputError(f"{path}: channel {channel} is none; it has {channels}, counted from 1, of which one is taken")
    return slice(int(channel) - 1, int(channel)), f", channel {channel} of {channels}"


def _blocks(path: Path, rows: slice, size: int) -> Iterator[tuple[NDArray[np.float32], bool]]:
    """Samples [channels, n] block by block, and whether a block is the last one."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        left = int(file.frames)
        while left > 0:
            block: NDArray[np.float32] = file.read(size, dtype="float32", always_2d=True)
            if not len(block):
                raise InputError(f"{path}: changed while it was read; start again")
            left -= len(block)
            yield np.ascontiguousarray(block.T[rows]), left <= 0


def _frames_read(file: Any) -> int:
    """How many frames can be decoded: a FLAC header promises what the file need not hold."""
    return sum(len(block) for block in file.blocks(blocksize=1 << 16, dtype="int16"))


def _cut_off(path: Path) -> bool:
    """True where a RIFF header names more bytes than the file has (libsndfile reads such a file without a word)."""
    with path.open("rb") as file:
        head = file.read(8)
    declared = int.from_bytes(head[4:8], "little")
    # One byte is forgiven: many writers count the padding byte of an odd length and leave it out.
    return head[:4] == b"RIFF" and 0 < declared < _UNKNOWN_LENGTH and path.stat().st_size + 1 < declared + 8


def _new_resampler(rate_hz: float, modality: Stream) -> Any:
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError("sensors", "soxr") from error
    return soxr.ResampleStream(rate_hz, modality.rate_hz, modality.channels, dtype="float32")
