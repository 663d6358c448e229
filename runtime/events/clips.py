"""Recordings of tracks in a folder of limited size, written by a thread of their own."""

from __future__ import annotations

import logging
import math
import os
import queue
import shutil
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.files import new_folder, write_file
from rep_edge.runtime.events.clip_files import CLIP_FILE, Clip, clip_files, require_writers
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.notices import Notices
from rep_edge.signals import WindowSpec

LOGGER = logging.getLogger("rep_edge.clips")

MOST_WAITING = 4
"""Clips that wait to be written: each may hold a minute of every stream."""

DAY_S = 86400.0
MB = 1e6


class ClipSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is recorded of a track, and for how long it is kept.

    enabled: false for no recordings. before_s, after_s: seconds of it before the onset and after the end.
    longest_s: of a track that lasts longer only the last part is recorded.
    keep_days: older clips go, unless a person has marked them. keep_mb: all clips together, in MB; the oldest go first,
    marked ones after all others.
    """

    enabled: bool = True
    before_s: float = 5.0
    after_s: float = 5.0
    longest_s: float = 60.0
    keep_days: float = 30.0
    keep_mb: float = 500.0

    def __post_init__(self) -> None:
        for key in ("before_s", "after_s"):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) >= 0):
                raise ValueError(f"{key}: must be at least 0, not {getattr(self, key):g}")
        for key in ("longest_s", "keep_days", "keep_mb"):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) > 0):
                raise ValueError(f"{key}: must be above 0, not {getattr(self, key):g}")


class _Job(NamedTuple):
    """A clip to write."""

    event: Event
    waveforms: Mapping[str, NDArray[np.float32]]
    start_s: float


class _Kept(NamedTuple):
    """A clip on the disk: when it was written, in s since 1970, and its size."""

    written_s: float
    size_bytes: int


class Clips:
    """clips.record(event, waveforms, start_s); clips.prune(time.time(), marked); clips.close()

    A clip is the folder `<track>/`, there as a whole or not at all. A disk that is full or fails costs the clip, which
    is counted and logged, and nothing else. written, failed, dropped: clips since the start; those dropped came while
    `MOST_WAITING` others waited. Raises MissingExtraError where a package is missing that writing needs, and InputError
    where the folder cannot be made.
    """

    def __init__(self, folder: Path, spec: WindowSpec, settings: ClipSettings) -> None:
        require_writers(spec.streams)
        self._folder, self._spec, self._settings = folder, spec, settings
        self._notices = Notices(LOGGER)
        self._lock = threading.Lock()
        self._kept = _opened(folder)
        self.written = self.failed = self.dropped = 0
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._write_all, name="clips", daemon=True)
        self._thread.start()

    def record(self, event: Event, waveforms: Mapping[str, NDArray[np.float32]], start_s: float) -> None:
        """Write the clip of a track soon. Where too many wait, the oldest of them is dropped.

        event: the last message about it. waveforms: modality -> float32 [channels, n], NaN where nothing came; they are
        the clip's from now on. start_s: of their first sample, in s since 1970.
        """
        while True:
            try:
                return self._jobs.put_nowait(_Job(event, waveforms, start_s))
            except queue.Full:
                self._drop_oldest()

    def tracks(self) -> list[str]:
        """The tracks that have a clip, the newest first."""
        with self._lock:
            return sorted(self._kept, key=lambda track: (self._kept[track].written_s, track), reverse=True)

    def read(self, track: str) -> Clip | None:
        """What the clip of a track holds; None where there is none."""
        path = self.path(track, CLIP_FILE)
        return None if path is None else read_clip(path)

    def path(self, track: str, file: str) -> Path | None:
        """A clip's file; None for every name that is not one of those there."""
        with self._lock:
            known = track in self._kept
        try:
            return self._folder / track / file if known and file in os.listdir(self._folder / track) else None
        except OSError:
            return None

    @property
    def size_bytes(self) -> int:
        """Bytes of all clips."""
        with self._lock:
            return sum(kept.size_bytes for kept in self._kept.values())

    def prune(self, now_s: float, marked: Collection[str] = ()) -> int:
        """Remove what the settings do not keep; how many clips that were.

        now_s: in s since 1970; marked: tracks that a person has marked, whose clips only a lack of space takes away.
        """
        oldest = [(track in marked, track) for track in reversed(self.tracks())]
        excess = self.size_bytes - self._settings.keep_mb * MB
        removed = 0
        for is_marked, track in sorted(oldest, key=lambda clip: clip[0]):
            with self._lock:
                kept = self._kept[track]
            old = now_s - kept.written_s > self._settings.keep_days * DAY_S
            if (excess > 0 or (old and not is_marked)) and self._remove(track):
                excess -= kept.size_bytes
                removed += 1
        return removed

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _drop_oldest(self) -> None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return
        if job is not None:
            self.dropped += 1
            self._notices.tell("dropped", f"clip {job.event.track}: dropped, the disk is too slow for so many clips")

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._write(job)
                self.written += 1
            except Exception as error:  # One clip that cannot be written must not cost those that follow.
                self.failed += 1
                self._notices.tell("failed", f"clip {job.event.track}: not written, {error}")

    def _write(self, job: _Job) -> None:
        track = job.event.track
        contents = clip_files(job.event, job.waveforms, job.start_s, self._spec.streams)
        with new_folder(self._folder / track) as folder:
            for name, content in contents.items():
                write_file(folder / name, content)
        kept = _found(self._folder / track)
        with self._lock:
            self._kept[track] = kept

    def _remove(self, track: str) -> bool:
        """Take a clip away: out of sight at once, then for good."""
        gone = self._folder / f".{track}.gone"
        try:
            (self._folder / track).replace(gone)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._notices.tell("kept", f"clip {track}: cannot be removed ({error.strerror})")
            return False
        shutil.rmtree(gone, ignore_errors=True)
        with self._lock:
            self._kept.pop(track, None)
        return True


def read_clip(path: Path) -> Clip | None:
    """A clip.json; None where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Clip)
    except (OSError, msgspec.DecodeError):
        return None


def _opened(folder: Path) -> dict[str, _Kept]:
    """The clips of a folder, which is made where there is none; what an interrupted service left half done goes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be used ({error.strerror}); choose another state_dir") from error
    for entry in entries:
        if entry.name.startswith("."):
            shutil.rmtree(entry, ignore_errors=True)
    return {entry.name: _found(entry) for entry in entries if (entry / CLIP_FILE).is_file()}


def _found(folder: Path) -> _Kept:
    return _Kept(folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()))
