"""Logs: text for people, JSON for machines, a file of bounded size, the latest lines in memory; never a password."""

from __future__ import annotations

import errno
import io
import json
import logging
import warnings
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from rep_edge.errors import InputError
from rep_edge.runtime.service import logs
from rep_edge.runtime.service.config import LogSettings
from rep_edge.runtime.service.logs import FILE, KEPT_LINES, start_logs

LOGGER = logging.getLogger("rep_edge.sources")


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    names = [*logs.LIBRARIES, "rep_edge"]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    yield
    logging.captureWarnings(False)
    for handler in logging.getLogger().handlers[:]:
        if handler not in handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def file_lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_a_line_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_logs(LogSettings(), tmp_path)
    LOGGER.warning("%s is\nlost", "shake", extra={"node": "yard", "stream": "seismic"})
    (line,) = capsys.readouterr().err.splitlines()
    assert line[4] == "-"
    assert line[20:] == "warning sources: shake is lost (node=yard, stream=seismic)"


def test_a_line_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_logs(LogSettings(format="json"), tmp_path)
    LOGGER.warning("shake is lost", extra={"node": "yard"})
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": "rep_edge.sources", "message": "shake is lost", "node": "yard"}
    assert {"time": "", **file_lines(tmp_path)[0], **line} == file_lines(tmp_path)[0]


def test_an_error_shows_where_it_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recent = start_logs(LogSettings(), tmp_path)
    try:
        raise OSError("mqtt://ann:pw@broker is gone")
    except OSError:
        LOGGER.exception("failed")
    assert "Traceback" in recent.lines()[0].exception
    assert "Traceback" in file_lines(tmp_path)[0]["exception"]
    assert "pw" not in capsys.readouterr().err + (tmp_path / FILE).read_text()


def test_no_password_reaches_any_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recent = start_logs(LogSettings(), tmp_path)
    LOGGER.warning("cannot reach %s", "mqtt://ann:hunter2@broker", extra={"address": "rtsp://a:hunter2@b"})
    for shown in (capsys.readouterr().err, (tmp_path / FILE).read_text(), str(recent.lines())):
        assert "hunter2" not in shown
        assert "mqtt://***@broker" in shown


def test_the_latest_lines_are_kept_in_memory(tmp_path: Path) -> None:
    recent = start_logs(LogSettings(), tmp_path)
    for i in range(KEPT_LINES + 10):
        LOGGER.info("%d", i)
    assert [line.message for line in recent.lines()] == [str(i) for i in range(10, KEPT_LINES + 10)]


def test_the_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 2000)
    start_logs(LogSettings(), tmp_path)
    for _ in range(200):
        LOGGER.info("x" * 100)
    assert sorted(file.name for file in tmp_path.iterdir()) == [FILE, f"{FILE}.1", f"{FILE}.2"]
    assert all(file.stat().st_size <= 2000 for file in tmp_path.iterdir())


def test_levels(tmp_path: Path) -> None:
    recent = start_logs(LogSettings(level="warning"), tmp_path)
    LOGGER.info("not asked for")
    logging.getLogger("obspy").info("chatter of a library")
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("uvicorn.error").info("listening")
    logging.getLogger("obspy").warning("of a library")
    warnings.warn("deprecated", stacklevel=1)
    assert [line.logger for line in recent.lines()] == ["uvicorn.error", "obspy", "py.warnings"]


def test_a_second_start_takes_the_place_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = start_logs(LogSettings(), tmp_path / "a")
    second = start_logs(LogSettings(), tmp_path / "b")
    LOGGER.warning("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (len(first.lines()), len(second.lines())) == (0, 1)


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_takes_no_line_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recent = start_logs(LogSettings(), tmp_path)
    (file,) = (handler for handler in logging.getLogger().handlers if isinstance(handler, RotatingFileHandler))
    monkeypatch.setattr(file, "stream", FullDisk())
    LOGGER.warning("still told")
    assert [line.message for line in recent.lines()] == ["still told"]
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(InputError, match=r"service\.log: cannot be written .* choose another state_dir"):
        start_logs(LogSettings(), tmp_path / "state")
