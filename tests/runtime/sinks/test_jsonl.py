"""JSON lines: whole lines on the disk, rotated; what was not finished is cut off."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from heard import event

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.sinks.jsonl import JsonLinesSettings, JsonLinesSink
from rep_edge.runtime.sinks.sink import SinkError


def opened(folder: Path, **settings: float) -> JsonLinesSink:
    return JsonLinesSink(JsonLinesSettings(path=Path("out/events.jsonl"), **settings), folder)


def ids(path: Path) -> list[str]:
    return [msgspec.json.decode(line, type=Event).id for line in path.read_bytes().splitlines()]


def test_each_event_is_a_line(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.deliver([event(1), event(2)])
    sink.deliver([event(3)])
    text = (tmp_path / "out/events.jsonl").read_bytes()
    assert [msgspec.json.decode(line, type=Event) for line in text.splitlines()] == [event(1), event(2), event(3)]
    assert text.endswith(b"}\n")


@pytest.mark.parametrize("broken", [b'{"id": "half', b"\0" * 900, b'{"id": "a"\0\0\0\0}\n', b'\0\0"b"}\n{"id": "c"}\n'])
def test_what_a_power_loss_left_of_a_line_is_cut_off(
    tmp_path: Path, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    opened(tmp_path).deliver([event(1)])
    path = tmp_path / "out/events.jsonl"
    path.write_bytes(path.read_bytes() + broken)
    opened(tmp_path).deliver([event(2)])
    assert ids(path) == ["yard-1.0", "yard-2.0"]
    assert f"{len(broken)} bytes of an unfinished delivery cut off" in caplog.text


def test_lines_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out/events.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"a note of mine\n")
    opened(tmp_path).deliver([event(2)])
    assert path.read_bytes().startswith(b"a note of mine\n{")


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = opened(tmp_path)
    sink.deliver([event(1)])
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 20:
            return real(handle, data[: len(data) - 20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SinkError, match=r"events\.jsonl: No space left on device"):
        sink.deliver([event(2)])
    monkeypatch.undo()
    sink.deliver([event(2)])
    assert ids(tmp_path / "out/events.jsonl") == ["yard-1.0", "yard-2.0"]


def test_a_file_is_rotated_before_it_is_too_large_and_the_oldest_goes(tmp_path: Path) -> None:
    sink = opened(tmp_path, rotate_mb=0.0015, keep=2)
    for number in range(20):
        sink.deliver([event(number)])
    files = [tmp_path / f"out/events.jsonl{ending}" for ending in (".2", ".1", "")]
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    assert all(file.stat().st_size <= 1500 for file in files)
    kept = [one for file in files for one in ids(file)]
    assert kept == [f"yard-{number}.0" for number in range(20)][-len(kept) :]
    assert len(kept) > 6


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.deliver([event(1)])
    (tmp_path / "out/events.jsonl").rename(tmp_path / "moved")
    sink.deliver([event(2)])
    assert ids(tmp_path / "moved") == ["yard-1.0"]
    assert ids(tmp_path / "out/events.jsonl") == ["yard-2.0"]


def test_a_place_that_cannot_be_written_is_told_and_may_be_mended(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    sink = opened(tmp_path)
    with pytest.raises(SinkError, match=r"events\.jsonl"):
        sink.deliver([event(1)])
    (tmp_path / "out").unlink()
    sink.deliver([event(1)])
    assert ids(tmp_path / "out/events.jsonl") == ["yard-1.0"]


@pytest.mark.parametrize("wrong", [{"rotate_mb": 0.0}, {"keep": 0}, {"path": Path("")}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: must"):
        JsonLinesSettings(**({"path": Path("a")} | wrong))
