"""Files and folders: the old content or the new one, never half of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rep_edge.errors import InputError
from rep_edge.files import new_folder, require_new, require_writable, write_file, write_files


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"
    assert names(tmp_path / "a" / "b") == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "file", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(InputError, match=r"file: cannot be written \(No space left on device\)"):
            write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path / "out") == ["file"]
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "other") as folder:
        (folder / "file").write_text(str(1 / len(names(folder))))
    assert names(tmp_path) == ["out"]


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(InputError, match="is there already"), new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("y")
    assert names(tmp_path / "out") == ["mine"]
    assert names(tmp_path) == ["out"]


def test_files_that_belong_together_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "out", {"weights": b"old", "record": b"old"})
    write_files(tmp_path / "out", {"weights": b"new", "record": b"new"})
    assert (tmp_path / "out" / "record").read_bytes() == b"new"
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(InputError):
        write_files(tmp_path / "out", {"weights": b"newer", "record": b"newer"})
    # Without the last file nothing of the folder is valid, so that nobody reads old and new together.
    assert "record" not in names(tmp_path / "out")


def test_what_could_not_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b" / "file")
    assert names(tmp_path) == []
    (tmp_path / "taken").write_text("x")
    with pytest.raises(InputError, match="is a folder; name a file"):
        require_writable(tmp_path)
    with pytest.raises(InputError, match=r"taken/file: cannot be written, because .*taken cannot"):
        require_writable(tmp_path / "taken" / "file")


def test_a_new_folder_may_be_empty_but_not_in_use(tmp_path: Path) -> None:
    require_new(tmp_path / "out")
    (tmp_path / "out").mkdir()
    require_new(tmp_path / "out")
    (tmp_path / "out" / "mine").write_text("x")
    for taken in (tmp_path / "out", tmp_path / "out" / "mine"):
        with pytest.raises(InputError, match="is there already"):
            require_new(taken)
