"""Clips that people have marked become a folder of recordings to train on."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rep_edge.errors import InputError
from rep_edge.files import new_folder, require_new, write_file
from rep_edge.runtime.events.clip_files import CLIP_FILE, Clip
from rep_edge.runtime.events.clips import read_clip
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.events.track_settings import BACKGROUND

HEADER = ("recording", "start", "end", "label")


class Exported(NamedTuple):
    """labels: class -> recordings; left_out: reason -> marked tracks."""

    labels: dict[str, int]
    left_out: dict[str, int]


class _Recording(NamedTuple):
    """A clip to export. stretches: (start, end) in s from its start, those of its track without a gap."""

    track: str
    clip: Clip
    label: str
    stretches: list[tuple[float, float]]


def export_marks(marks: Iterable[Mark], clips: Path, out: Path) -> Exported:
    """Write `out/<modality>/<track>.flac|mseed` and `out/labels.csv` from the folder of clips.

    The seconds of the track carry its class where the mark says that it is right, else the mark's class, or background
    where it names none. Left out are tracks without a clip, and clips that training cannot use: it needs every modality
    of a recording, from its first sample on. Gaps of any stream are not labelled. Raises InputError where nothing
    remains, `out` is there already, or a file cannot be read or written.
    """
    require_new(out)
    there = {folder.name for folder in clips.iterdir()} if clips.is_dir() else set()
    found = {
        mark.track: (mark, read_clip(clips / mark.track / CLIP_FILE) if mark.track in there else None) for mark in marks
    }
    wanted = {m.name for _, clip in found.values() if clip for m in clip.modalities}
    left_out: Counter[str] = Counter()
    recordings = []
    for track, (mark, clip) in found.items():
        reason = _unusable(clip, wanted)
        if clip is None or reason:
            left_out[reason] += 1
            continue
        label = clip.event.label if mark.right else " ".join(mark.label.split()) or BACKGROUND
        stretches = _stretches(clip)
        if stretches:
            recordings.append(_Recording(track, clip, label, stretches))
        else:
            left_out["has no whole window without a gap"] += 1
    if not recordings:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "no track is marked"
        raise InputError(f"{clips}: there is nothing to train on: {reasons}")
    _write(recordings, clips, out)
    return Exported(dict(Counter(r.label for r in recordings)), dict(left_out))


def _unusable(clip: Clip | None, wanted: set[str]) -> str:
    """Why training cannot use a clip, in words; "" where it can."""
    if clip is None:
        return "has no clip"
    lacking = sorted(wanted - set(clip.streams))
    if lacking:
        return f"lacks {' and '.join(lacking)}"
    late = sorted(name for name, stream in clip.streams.items() if any(start_s == 0 for start_s, _ in stream.gaps))
    return f"has no {' and '.join(late)} at its start" if late else ""


def _stretches(clip: Clip) -> list[tuple[float, float]]:
    """The parts of the track in which every stream came, as far as they hold a window."""
    at_s, end_s = max(0.0, clip.event.start_s - clip.start_s), min(clip.event.end_s, clip.end_s) - clip.start_s
    stretches = []
    for gap_start_s, gap_end_s in sorted(gap for stream in clip.streams.values() for gap in stream.gaps):
        stretches.append((at_s, min(gap_start_s, end_s)))
        at_s = max(at_s, gap_end_s)
    stretches.append((at_s, end_s))
    window_s = max(m.window_s for m in clip.modalities)
    return [(start, end) for start, end in stretches if end - start >= window_s - 1e-6]


def _write(recordings: Sequence[_Recording], clips: Path, out: Path) -> None:
    table = io.StringIO()
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(HEADER)
    with new_folder(out) as folder:
        for track, clip, label, stretches in recordings:
            for name, stream in clip.streams.items():
                source = clips / track / stream.file
                try:
                    content = source.read_bytes()
                except OSError as error:
                    raise InputError(f"{source}: cannot be read ({error.strerror}); try again") from error
                write_file(folder / name / f"{track}{source.suffix}", content)
            # A window may fill a stretch: rounding must not make it shorter.
            lines.writerows((track, round(start, 6), round(end + 1e-6, 6), label) for start, end in stretches)
        write_file(folder / "labels.csv", table.getvalue().encode())
