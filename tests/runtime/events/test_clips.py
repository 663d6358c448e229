"""The folder of clips: whole or not at all, of limited size, whatever the disk does."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import PAIR
from clipped import START_S, end_of, wait_until, waveforms

from rep_edge.errors import InputError
from rep_edge.runtime.events import clips as clips_module
from rep_edge.runtime.events.clip_files import clip_files
from rep_edge.runtime.events.clips import MOST_WAITING, Clips, ClipSettings

DAY_S = 86400.0


@pytest.fixture
def clips(tmp_path: Path) -> Iterator[Clips]:
    opened = Clips(tmp_path / "clips", PAIR, ClipSettings())
    yield opened
    opened.close()


def record(clips: Clips, *tracks: str) -> None:
    """Clips one after the other, each written in the end."""
    for track in tracks:
        before = clips.written + clips.failed
        clips.record(end_of(track), waveforms(), START_S)
        wait_until(lambda before=before: clips.written + clips.failed > before)  # type: ignore[misc]


def date(folder: Path, **days: int) -> None:
    """Make clips so many days old, as they are found at a start."""
    for track, age in days.items():
        os.utime(folder / track, (START_S - age * DAY_S, START_S - age * DAY_S))


def test_a_clip_is_written_and_found(clips: Clips, tmp_path: Path) -> None:
    record(clips, "t1")
    assert clips.tracks() == ["t1"]
    clip = clips.read("t1")
    assert clip is not None
    assert clip.event == end_of("t1")
    path = clips.path("t1", "acoustic.flac")
    assert path == tmp_path / "clips" / "t1" / "acoustic.flac"
    assert clips.size_bytes == sum(file.stat().st_size for file in path.parent.iterdir())
    assert [entry.name for entry in (tmp_path / "clips").iterdir()] == ["t1"]


@pytest.mark.parametrize(
    ("track", "file"),
    [
        ("..", "secret"),
        ("t1", "../../secret"),
        ("t1/..", "t1"),
        ("", "t1"),
        ("t1", ""),
        ("t1", "."),
        ("t1", "none.flac"),
        ("t1", "a\0b"),
        ("x" * 5000, "clip.json"),
    ],
)
def test_a_name_that_is_not_there_is_no_path(clips: Clips, tmp_path: Path, track: str, file: str) -> None:
    record(clips, "t1")
    (tmp_path / "secret").write_text("secret")
    assert clips.path(track, file) is None


def test_clips_are_found_again_and_what_was_left_half_done_goes(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    first = Clips(folder, PAIR, ClipSettings())
    record(first, "t1", "t2")
    first.close()
    (folder / ".t3.abc").mkdir()
    (folder / ".t3.abc" / "acoustic.flac").write_bytes(b"half")
    (folder / "notes").mkdir()
    date(folder, t1=2, t2=1)
    again = Clips(folder, PAIR, ClipSettings())
    assert (again.tracks(), again.size_bytes) == (["t2", "t1"], first.size_bytes)
    assert sorted(entry.name for entry in folder.iterdir()) == ["notes", "t1", "t2"]
    again.close()


def test_old_clips_go_unless_they_are_marked(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    first = Clips(folder, PAIR, ClipSettings())
    record(first, "t1", "t2", "t3")
    first.close()
    date(folder, t1=31, t2=32, t3=29)
    again = Clips(folder, PAIR, ClipSettings(keep_days=30))
    assert again.prune(START_S, marked={"t2"}) == 1
    assert again.tracks() == ["t3", "t2"]
    assert sorted(entry.name for entry in folder.iterdir()) == ["t2", "t3"]
    again.close()


def test_a_full_folder_loses_its_oldest_clips_and_marked_ones_last(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    first = Clips(folder, PAIR, ClipSettings())
    record(first, "t1", "t2", "t3")
    first.close()
    date(folder, t1=3, t2=2, t3=1)
    room = ClipSettings(keep_mb=0.8 * first.size_bytes / 1e6)
    again = Clips(folder, PAIR, room)
    assert again.prune(START_S, marked={"t1"}) == 1
    assert again.tracks() == ["t3", "t1"]
    again.close()
    small = Clips(folder, PAIR, ClipSettings(keep_mb=1e-6))
    assert small.prune(START_S, marked={"t1"}) == 2
    assert (small.tracks(), small.size_bytes, list(folder.iterdir())) == ([], 0, [])
    small.close()


def test_a_clip_that_somebody_else_removed_is_no_trouble(clips: Clips, tmp_path: Path) -> None:
    record(clips, "t1")
    (tmp_path / "clips" / "t1").rename(tmp_path / "elsewhere")
    assert clips.path("t1", "clip.json") is None
    assert clips.prune(START_S + 1e9) == 1
    assert clips.tracks() == []


def test_a_full_disk_costs_the_clip_and_nothing_else(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(os, "fsync", full)
        record(clips, "t1")
    assert "clip t1: not written" in caplog.text
    assert "No space left on device" in caplog.text
    record(clips, "t2")
    assert (clips.failed, clips.written, clips.tracks()) == (1, 1, ["t2"])
    assert [entry.name for entry in (tmp_path / "clips").iterdir()] == ["t2"]


def test_a_track_has_one_clip(clips: Clips) -> None:
    record(clips, "t1", "t1")
    assert (clips.written, clips.failed) == (1, 1)


def test_a_slow_disk_drops_the_oldest_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments: object) -> dict[str, bytes]:
        begun.set()
        assert go_on.wait(10)
        return clip_files(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(clips_module, "clip_files", slow)
    clips = Clips(tmp_path / "clips", PAIR, ClipSettings())
    clips.record(end_of("first"), waveforms(), START_S)
    assert begun.wait(10)
    for number in range(MOST_WAITING + 2):
        clips.record(end_of(f"t{number}"), waveforms(), START_S)
    go_on.set()
    clips.close()
    assert clips.dropped == 2
    assert set(clips.tracks()) == {"first", *(f"t{number}" for number in range(2, MOST_WAITING + 2))}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(InputError, match=r"cannot be used .* choose another state_dir"):
        Clips(tmp_path / "state" / "clips", PAIR, ClipSettings())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("before_s", -1.0, "before_s: must be at least 0, not -1"),
        ("longest_s", 0.0, "longest_s: must be above 0, not 0"),
        ("keep_mb", float("nan"), "keep_mb: must be above 0, not nan"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(key: str, value: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ClipSettings(**{key: value})  # type: ignore[arg-type]
