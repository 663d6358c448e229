"""doctor --zip as a command: the report as ever, and a file beside it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from commands import run

from rep_edge.runtime.doctor import report


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "ask_apart", lambda question, subject: {"told": f"{subject} on a card"})
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_report_is_printed_and_packed(tmp_path: Path) -> None:
    path = tmp_path / "report.zip"
    done = run("doctor", "--zip", path)
    assert done.code == 0
    assert done.out.startswith("rep-edge ")
    assert done.err.splitlines()[-1] == f"written to {path}: look through it, then send it"
    with zipfile.ZipFile(path) as file:
        assert file.read("doctor.txt").decode() == done.out.rstrip("\n")
        assert json.loads(file.read("doctor.json"))["machine"]["rep_edge"]


def test_what_was_left_out_is_told_and_no_failure(tmp_path: Path) -> None:
    done = run("doctor", "--zip", tmp_path / "a.zip", "--config", tmp_path / "none.yaml")
    assert done.code == 0
    assert any(line.startswith("left out: rep-edge.yaml: ") for line in done.err.splitlines())


def test_mistakes_are_told_before_the_machine_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("mine")
    done = run("doctor", "--zip", tmp_path / "a.zip")
    assert done.err == f"{done.error}\n"
    assert "is there already" in done.error
    assert run("doctor", "--config", "rep-edge.yaml").error == "error: --config: belongs to --zip; give that too"
