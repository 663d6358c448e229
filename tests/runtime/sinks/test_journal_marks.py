"""Marks are read beside a service that runs, and the journal is left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rep_edge.errors import InputError
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sinks.journal_marks import read_marks

MARKS = [Mark(track="a", right=True, marked_s=1.0), Mark(track="b", right=False, label="car", marked_s=2.0)]


def test_marks_are_read_while_the_service_writes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    for mark in reversed(MARKS):
        journal.mark(mark)
    assert read_marks(tmp_path / "journal.sqlite") == MARKS
    journal.close()
    assert read_marks(tmp_path / "journal.sqlite") == MARKS


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100])
def test_what_is_no_journal_is_told_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "journal.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"journal\.sqlite"):
        read_marks(path)
    assert [file.name for file in tmp_path.iterdir()] == ([] if content is None else ["journal.sqlite"])
    assert content is None or path.read_bytes() == content
