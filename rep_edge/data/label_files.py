"""Label files as published sets bring them: JSON and JSON lines, each value checked as it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from rep_edge.errors import InputError

T = TypeVar("T")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DAMAGE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_json(path: Path, kind: type[T]) -> T:
    """The content of a JSON file, of the given type. Raises InputError that names the file and the field."""
    content = _content(path)
    try:
        return msgspec.json.decode(content, type=kind)
    except _DAMAGE as error:
        raise InputError(f"{path}: {error}; mend the file, or take it from the data set again") from error


def read_json_lines(path: Path, kind: type[T]) -> list[tuple[int, T]]:
    """Line number (from 1) and content of every line that is not blank.

    Raises InputError that names the file, the line and the field.
    """
    decoder = msgspec.json.Decoder(kind)
    lines: list[tuple[int, T]] = []
    for number, line in enumerate(_content(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            lines.append((number, decoder.decode(line)))
        except _DAMAGE as error:
            raise InputError(f"{path}: line {number}: {error}; mend the line") from error
    return lines


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; it belongs to the data set") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
