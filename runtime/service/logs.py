"""What the service says of its work: on standard error, in files of bounded size, and the latest lines in memory."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from rep_edge.errors import InputError
from rep_edge.runtime.service.config import LogSettings
from rep_edge.runtime.service.secrets import without_secrets

FILE = "service.log"
FILE_BYTES = 1_000_000
OLDER_FILES = 2
"""service.log.1 and service.log.2, beside service.log."""

KEPT_LINES = 500

LIBRARIES = {"": logging.WARNING, "uvicorn": logging.INFO, "uvicorn.access": logging.WARNING}
"""Logger -> least level. The web server may also say where it listens, but not who asks for what."""

STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
"""What a record has besides the fields that a caller gave as `extra`."""


class LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. time: ISO 8601 in UTC; fields: what it is about, such as node and stream; exception: its traceback."""

    time: str
    level: str
    logger: str
    message: str
    fields: dict[str, str] = {}
    exception: str = ""


class Recent(logging.Handler):
    """The latest lines, for the page."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line; the handler's lock is held."""
        self._lines.append(log_line(record))

    def lines(self) -> list[LogLine]:
        """The oldest first."""
        self.acquire()
        try:
            return list(self._lines)
        finally:
            self.release()


class _Shown(logging.StreamHandler):  # type: ignore[type-arg]
    """Standard error."""


class _Files(RotatingFileHandler):
    """The files of the state folder. A disk that is full must not stop the service: the line is told elsewhere too."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on without the line."""


def start_logs(settings: LogSettings, state_dir: Path) -> Recent:
    """Have what every logger says shown, written to `state_dir`/service.log and kept in what is returned.

    Takes the place of an earlier call. Raises InputError where the file cannot be written.
    """
    recent, shown, files = Recent(), _Shown(sys.stderr), _open_files(state_dir)
    shown.setFormatter(JsonLines() if settings.format == "json" else PlainLines())
    files.setFormatter(JsonLines())
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, (Recent, _Shown, _Files))]:
        root.removeHandler(old)
        old.close()
    for handler in (recent, shown, files):
        root.addHandler(handler)
    for name, level in LIBRARIES.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("rep_edge").setLevel(settings.level.upper())
    logging.captureWarnings(True)
    return recent


def log_line(record: logging.LogRecord) -> LogLine:
    """What may be shown of a record: all but passwords and tokens."""
    fields = {name: without_secrets(str(value)) for name, value in vars(record).items() if name not in STANDARD}
    told = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return LogLine(
        time=datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
        level=record.levelname.lower(),
        logger=record.name,
        message=without_secrets(record.getMessage()),
        fields=fields,
        exception=without_secrets(told),
    )


class JsonLines(logging.Formatter):
    """One JSON object a line, for files and log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """As `LogLine` has it, with the fields beside the rest."""
        line = msgspec.to_builtins(log_line(record))
        return msgspec.json.encode({**line.pop("fields", {}), **line}).decode()


class PlainLines(logging.Formatter):
    """2026-01-01 12:00:00 warning sources: shake is lost (node=yard); for people, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it where there is one."""
        line = log_line(record)
        when = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
        about = ", ".join(f"{name}={value}" for name, value in line.fields.items())
        told = " ".join(line.message.splitlines()) + (f" ({about})" if about else "")
        logger = line.logger.removeprefix("rep_edge.")
        return f"{when} {line.level} {logger}: {told}" + (f"\n{line.exception.rstrip()}" if line.exception else "")


def _open_files(state_dir: Path) -> _Files:
    path = state_dir / FILE
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        return _Files(path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another state_dir") from error
