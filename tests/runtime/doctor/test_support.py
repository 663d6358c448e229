"""The file to send with a question: what is in it, what is blanked, and that a missing part costs that part alone."""

from __future__ import annotations

import socket
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from rep_edge.errors import InputError
from rep_edge.runtime.doctor.private import private
from rep_edge.runtime.doctor.support import require_zip, write_zip
from rep_edge.runtime.service.logs import FILE

CONFIG = """\
bundle: bundle
nodes:
  - name: yard
    streams: {acoustic: {source: "mqtt://ann:hunter2@broker/a?token=hunter2"}}
web: {token_env: REP_EDGE_TOKEN}
"""


def unpacked(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {name: file.read(name).decode() for name in file.namelist()}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A service's file and a state folder as a running service leaves it."""
    path, state = tmp_path / "rep-edge.yaml", tmp_path / "state"
    path.write_text(CONFIG)
    state.mkdir()
    (state / FILE).write_text("latest mqtt://ann:hunter2@broker")
    (state / f"{FILE}.1").write_text("older")
    (state / "status.json").write_text('{"version": "1"}')
    (state / "clips").mkdir()
    (state / "clips/a.flac").write_bytes(b"x" * 1000)
    return path


def test_it_holds_report_configuration_logs_and_state(config: Path, tmp_path: Path) -> None:
    assert write_zip(tmp_path / "a.zip", {"doctor.txt": "report"}, config) == []
    parts = unpacked(tmp_path / "a.zip")
    assert parts["doctor.txt"] == "report"
    assert "numpy==" in parts["packages.txt"]
    assert "up for" in parts["machine.txt"]
    assert parts["state/service.log.1"] == "older"
    assert parts["state/status.json"] == '{"version": "1"}'
    assert "GB free of" in parts["state/disk.txt"]
    assert "1,000 bytes  clips" in parts["state/disk.txt"]
    assert "missing" not in parts["README.txt"]


def test_no_secret_is_in_it(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REP_EDGE_TOKEN", "hunter2")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_zip(tmp_path / "a.zip", {"doctor.txt": f"{tmp_path}/bundle"}, config)
    parts = unpacked(tmp_path / "a.zip")
    assert parts["rep-edge.yaml"] == CONFIG.replace("ann:hunter2@", "***@").replace("=hunter2", "=***")
    assert parts["state/service.log"] == "latest mqtt://***@broker"
    assert parts["doctor.txt"] == "~/bundle"
    assert not any("hunter2" in text or str(tmp_path) in text for text in parts.values())


def test_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "annas-pi")
    monkeypatch.setenv("HOME", "/data/ann")
    assert private("annas-pi: /data/ann/x, annas-pi-2") == "<this machine>: ~/x, annas-pi-2"
    assert private("in /home/" + "bob/.venv/bin and /home") == "in ~/.venv/bin and /home"


def test_the_journal_is_counted_while_the_service_writes_and_its_content_stays(config: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state/journal.sqlite")) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE events (body)")
        writer.executemany("INSERT INTO events VALUES (?)", [("heard",)] * 3)
        writer.commit()
        writer.execute("INSERT INTO events VALUES ('not yet')")
        assert write_zip(tmp_path / "a.zip", {}, config) == []
    parts = unpacked(tmp_path / "a.zip")
    assert parts["state/databases.txt"] == "journal.sqlite\n  events: 3 rows\n"
    assert not any("heard" in text for name, text in parts.items() if name != "README.txt")


def test_what_is_not_there_is_told_and_the_rest_is_in_it(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / FILE).unlink()
    (tmp_path / "state/journal.sqlite").write_bytes(b"SQLite format 3\0" + b"damaged" * 100)
    missing = write_zip(tmp_path / "a.zip", {"doctor.txt": "report"}, config)
    assert [line.partition(":")[0] for line in missing] == ["state/service.log", "state/databases.txt"]
    parts = unpacked(tmp_path / "a.zip")
    assert "state/status.json" in parts
    assert "missing: state/service.log: " in parts["README.txt"]


@pytest.mark.parametrize("text", ["nodes: [", "bundle: 5", "\0", "password: hunter2"])
def test_a_file_that_cannot_be_read_is_sent_as_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "rep-edge.yaml").write_text(text)
    (line,) = write_zip(tmp_path / "a.zip", {}, tmp_path / "rep-edge.yaml")
    assert line.startswith("state folder: rep-edge.yaml: ")
    assert unpacked(tmp_path / "a.zip")["rep-edge.yaml"] == text.replace("hunter2", "***")


def test_without_a_service_it_holds_the_machine(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"doctor.txt": "report"}, None)
    assert {"doctor.txt", "packages.txt", "README.txt"} <= unpacked(tmp_path / "a.zip").keys()
    missing = write_zip(tmp_path / "b.zip", {}, tmp_path / "none.yaml")
    assert [line.partition(":")[0] for line in missing] == ["state folder", "rep-edge.yaml"]


def test_of_a_large_log_the_end_is_taken(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.runtime.doctor.support.LARGEST_BYTES", 10)
    (tmp_path / "state" / FILE).write_text("x" * 100 + "\nthe end")
    write_zip(tmp_path / "a.zip", {}, config)
    assert unpacked(tmp_path / "a.zip")["state/service.log"] == "xx\nthe end"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(InputError, match=r"a\.zip: is there already; choose another name"):
        require_zip(tmp_path / "a.zip")
    with pytest.raises(InputError, match="is there already"):
        write_zip(tmp_path / "a.zip", {}, None)
    assert (tmp_path / "a.zip").read_text() == "mine"
