"""export-marks as a command: what it says, and each mistake as one line."""

from __future__ import annotations

from pathlib import Path

from bundles import PAIR
from clipped import START_S, end_of, waveforms
from commands import run

from rep_edge.runtime.events.clips import Clips, ClipSettings
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.sinks.journal import Journal, JournalSettings


def state(folder: Path, *marks: Mark) -> Path:
    """A state_dir as the service leaves it, with clips of t1 and t2."""
    clips = Clips(folder / "clips", PAIR, ClipSettings())
    for track in ("t1", "t2"):
        clips.record(end_of(track), waveforms(), START_S)
    clips.close()
    journal = Journal(folder / "journal.sqlite", JournalSettings())
    for mark in marks:
        journal.mark(mark)
    journal.close()
    return folder


def test_marks_become_recordings(tmp_path: Path) -> None:
    marks = [
        Mark(track="t1", right=True, marked_s=START_S),
        Mark(track="t2", right=False, label="car", note="the red one", marked_s=START_S),
        Mark(track="t3", right=True, marked_s=START_S),
    ]
    out = tmp_path / "deep" / "recordings"
    done = run("export-marks", state(tmp_path / "state", *marks), "--out", out)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "left out: 1 that has no clip",
        f"2 recordings written to {out}: car 1, truck 1",
    ]
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.*")) == [
        "acoustic/t1.flac",
        "acoustic/t2.flac",
        "labels.csv",
        "seismic/t1.mseed",
        "seismic/t2.mseed",
    ]


def test_no_marks_is_one_line(tmp_path: Path) -> None:
    done = run("export-marks", state(tmp_path / "state"), "--out", tmp_path / "recordings")
    assert "there is nothing to train on: no track is marked" in done.error


def test_a_folder_without_a_journal_is_one_line_and_none_is_made(tmp_path: Path) -> None:
    done = run("export-marks", tmp_path, "--out", tmp_path / "recordings")
    assert "journal.sqlite: there is no such file; give the state_dir of the service's configuration" in done.error
    assert list(tmp_path.iterdir()) == []
