"""Read labels.csv: which class is heard in which seconds of which recording."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from rep_edge.errors import InputError

HEADER = ("recording", "start", "end", "label")


class Interval(NamedTuple):
    """One labelled stretch.

    recording: file name without its ending; start_s, end_s: s from the start of the recording, end_s infinite for "to
    the end"; label: name of the class; line: line of labels.csv, for messages.
    """

    recording: str
    start_s: float
    end_s: float
    label: str
    line: int


def read_labels(path: Path, recordings: Sequence[str]) -> list[Interval]:
    """The intervals of a labels.csv, in the order of the file.

    recordings: the recordings there are; where it is exactly one, the column `recording` may be left out.
    Raises InputError that names line and field: no such file, another header, a bad number, start at or after end, an
    empty name, overlapping intervals.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if any(map(str.strip, row))]
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; write one with the header {','.join(HEADER)}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV text in UTF-8 ({error}); save it again as CSV") from error
    only = _only_recording(path, rows[0][1] if rows else [], recordings)
    intervals = [_interval(path, line, row, only) for line, row in rows[1:]]
    if not intervals:
        raise InputError(f"{path}: labels nothing; add lines such as  run01,0.0,12.5,car")
    _refuse_overlaps(path, intervals)
    return intervals


def _only_recording(path: Path, header: Sequence[str], recordings: Sequence[str]) -> str | None:
    """None where the header has the column `recording`, else the one recording that all lines mean."""
    found = tuple(field.strip().lower() for field in header)
    if found == HEADER:
        return None
    if found == HEADER[1:] and len(recordings) == 1:
        return recordings[0]
    if found == HEADER[1:]:
        raise InputError(f"{path}: has no column recording, and there are {len(recordings)} recordings; add the column")
    raise InputError(f"{path}: the header is {','.join(header)!r}, it must be {','.join(HEADER)}")


def _interval(path: Path, line: int, row: Sequence[str], only: str | None) -> Interval:
    fields = [field.strip() for field in row]
    if only is not None:
        fields.insert(0, only)
    if len(fields) != len(HEADER):
        columns = HEADER if only is None else HEADER[1:]
        raise InputError(f"{path}: line {line} has {len(row)} fields, the header has {len(columns)}; mend the line")
    recording, start, end, label = fields
    for field, text in (("recording", recording), ("label", label)):
        if not text:
            raise InputError(f"{path}: line {line}, {field}: is empty; write a name")
    start_s = _seconds(path, line, "start", start)
    end_s = _seconds(path, line, "end", end) if end else math.inf
    if start_s >= end_s:
        raise InputError(f"{path}: line {line}: start {start} is not before end {end}; both are s from the start")
    return Interval(recording, start_s, end_s, label, line)


def _seconds(path: Path, line: int, field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{path}: line {line}, {field}: {text!r} is no time; write s from the start such as 12.5")
    return value


def _refuse_overlaps(path: Path, intervals: Sequence[Interval]) -> None:
    for first, second in pairwise(sorted(intervals, key=lambda i: (i.recording, i.start_s))):
        if first.recording == second.recording and second.start_s < first.end_s - 1e-9:
            raise InputError(
                f"{path}: lines {first.line} and {second.line} overlap in recording {first.recording} "
                f"({first.label} and {second.label}); give every second one label"
            )
