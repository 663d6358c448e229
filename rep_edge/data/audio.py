"""Read WAV and FLAC files, and say in one line what is wrong with a file that cannot be read whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rep_edge.data.waveform import Waveform
from rep_edge.errors import InputError, MissingExtraError
from rep_edge.signals import Stream

AUDIO_SUFFIXES = (".wav", ".flac")

_UNKNOWN_LENGTH = 0x7FFFF000
"""Recorders that write into a pipe put this size or a larger one into the header: the length is then not known."""


def read_audio(path: Path, modality: Stream) -> Waveform:
    """The whole file, whole-number formats scaled to -1..1, at the rate of its header.

    WAV and FLAC hold whole-number rates only: a header of 333 Hz is read as the modality's 333.33 Hz.
    Raises InputError for a file that is empty, damaged or cut off, that holds NaN, or that has other channels.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("train", "soundfile") from error
    try:
        with soundfile.SoundFile(path) as file:
            frames, rate = int(file.frames), int(file.samplerate)
            frame_major: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: cannot be decoded ({str(reason).rstrip('.')}); copy or export the file again"
        ) from error
    if len(frame_major) < frames or _shorter_than_declared(path):
        raise InputError(f"{path}: the file is cut off, its header promises more than it holds; copy it again")
    if not len(frame_major):
        raise InputError(f"{path}: the file holds no samples; remove it or record it again")
    samples = np.ascontiguousarray(frame_major.T)
    if len(samples) != modality.channels:
        raise InputError(
            f"{path}: has {len(samples)} channels, modality {modality.name} has {modality.channels}; "
            f"mix the file down or set channels: {len(samples)} for {modality.name} in the configuration"
        )
    if not np.isfinite(samples).all():
        raise InputError(f"{path}: holds NaN or infinite samples; export the file again without them")
    return Waveform(samples, modality.rate_hz if rate == round(modality.rate_hz) else float(rate))


def _shorter_than_declared(path: Path) -> bool:
    """True where a RIFF header names more bytes than the file has (libsndfile reads such a file without a word)."""
    with path.open("rb") as file:
        head = file.read(8)
    declared = int.from_bytes(head[4:8], "little")
    # One byte is forgiven: many writers count the padding byte of an odd length and leave it out.
    return head[:4] == b"RIFF" and 0 < declared < _UNKNOWN_LENGTH and path.stat().st_size + 1 < declared + 8
