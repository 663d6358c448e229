"""The stack, the memory and the bytes that the instructions of a pickle work on (`rep_edge.data.plain_pickle`)."""

from __future__ import annotations

import struct
from typing import BinaryIO, TypeVar

from rep_edge.data.plain_arrays import NotPlainError

T = TypeVar("T")
Copied = TypeVar("Copied", bound=bytes | bytearray | str | list[object])

_COPIES = 8
"""Bytes that may be copied for each byte of the file: an object array has 8 for an object that takes 1 or 2 there."""
_SLACK = 1 << 20
_LONGEST_NUMBER = 32
"""Characters of a number in letters."""
_ATOMS = (str, bytes, int, float, type(None))


class EndedError(Exception):
    """The file is shorter than it says."""


class Stack:
    """Objects that a file of `size` bytes has made so far.

    The stack is split at the marks that the file sets: `_top` is the part above the last one. Every method raises
    IndexError, KeyError or ValueError where the file is damaged, and EndedError where it is cut off.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._room = _COPIES * size + _SLACK
        self._top: list[object] = []
        self._below: list[list[object]] = []
        self._memory: dict[int, object] = {}

    def read(self, count: int) -> bytes:
        """The next bytes."""
        if count < 0:
            raise ValueError(count)
        found = self._file.read(count) if count <= self._left else b""
        if len(found) < count:
            raise EndedError
        self._left -= count
        return found

    def line(self) -> bytes:
        """The bytes up to the end of the line."""
        found = self._file.readline(self._left)
        self._left -= len(found)
        if not found.endswith(b"\n"):
            raise EndedError
        return found[:-1]

    def number_line(self) -> str:
        """A line with a number in letters."""
        found = self.line()
        if len(found) > _LONGEST_NUMBER:
            raise ValueError(found)
        return found.decode("ascii")

    def number(self, code: str) -> int:
        """The next integer, in a code of `struct`."""
        found: int = struct.unpack(code, self.read(struct.calcsize(code)))[0]
        return found

    def real(self) -> float:
        """The next float64, which pickles have big-endian."""
        found: float = struct.unpack(">d", self.read(8))[0]
        return found

    def sized(self, code: str) -> bytes:
        """The number of bytes, then the bytes."""
        return self.read(self.number(code))

    def push(self, value: object) -> None:
        self._top.append(value)

    def pop(self) -> object:
        return self._top.pop()

    def several(self, count: int) -> tuple[object, ...]:
        """The topmost objects, taken away."""
        if len(self._top) < count:
            raise IndexError(count)
        found = tuple(self._top[-count:])
        del self._top[-count:]
        return found

    def last(self, kind: type[T]) -> T:
        """The object on top, left there."""
        found = self._top[-1]
        if not isinstance(found, kind):
            raise ValueError(kind)
        return found

    def mark(self) -> None:
        self._below.append(self._top)
        self._top = []

    def above_mark(self) -> list[object]:
        """The objects above the last mark, taken away with it."""
        found, self._top = self._top, self._below.pop()
        return found

    def drop(self) -> None:
        """Take the top away: an object, or the mark that has nothing above it."""
        if self._top:
            self._top.pop()
        else:
            self._top = self._below.pop()

    def extend(self, items: list[object]) -> None:
        self.last(list).extend(items)

    def store(self, items: list[object]) -> None:
        """Keys and values, by turns, into the dict on top."""
        self.last(dict).update(paired(items))

    def add(self, items: list[object]) -> None:
        self.last(set).update(keys(items))

    def remember(self, place: int) -> None:
        self._memory[place] = self._top[-1]

    def remember_next(self) -> None:
        self.remember(len(self._memory))

    def recall(self, place: int) -> None:
        self.push(self._memory[place])

    def copied(self, data: Copied) -> Copied:
        """`data`, counted: what a few bytes name again and again, to be copied each time, must not grow without end."""
        self._room -= len(data) * (_COPIES if isinstance(data, list) else 1)
        if self._room < 0:
            raise NotPlainError(f"makes more than {_COPIES} times its own size")
        return data


def keys(items: list[object]) -> list[object]:
    """Keys whose hashes are cheap: that of a tuple can take time exponential in its depth."""
    if not all(isinstance(item, _ATOMS) for item in items):
        raise NotPlainError("has a key that is neither text nor number")
    return items


def paired(items: list[object]) -> dict[object, object]:
    """A dict of keys and values, by turns."""
    return dict(zip(keys(items[::2]), items[1::2], strict=True))
