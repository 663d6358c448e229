"""A disk that loses its power: what a program wrote, replayed from its system calls, and cut off at any one of them.

Only what was synchronised before the cut is sure to be there. Of what came after, anything may be: each file keeps any
of its writes, in pieces of a sector, and a folder any number of the first changes of its entries.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

SECTOR_BYTES = 512
CALLS = "openat,pwrite64,write,ftruncate,fsync,fdatasync,rename,unlink"

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

_CALL = re.compile(r"(\w+)\((?:(\d+|AT_FDCWD)(?:<([^>]*)>)?)?(?:, )?(.*)\) += (\d+)")
_BYTE = re.compile(rb"\\x([0-9a-f]{2})")


class Step(NamedTuple):
    """One system call that succeeded. handle: the file's number; path: of the file; rest: its other arguments."""

    call: str
    handle: str
    path: str
    rest: str


def record(command: Sequence[str], folder: Path) -> list[Step]:
    """Run a program of one thread and return what it did to the files in `folder`, and what it printed (handle 1)."""
    trace = folder.with_name(f"{folder.name}.trace")
    tracer = ["strace", "-o", str(trace), "-y", "-xx", "-s", "10000000", "-e", f"trace={CALLS}"]
    subprocess.run([*tracer, *command], check=True, stdout=subprocess.DEVNULL)
    steps = []
    for line in trace.read_text().splitlines():
        found = _CALL.match(line)
        if not found:
            continue
        call, handle, path, rest = found[1], found[2] or "", _text(found[3] or ""), found[4]
        if call in ("openat", "rename", "unlink"):
            path = _text(rest.partition(",")[0])
        if handle == "1" or path == str(folder) or path.startswith(f"{folder}/"):
            steps.append(Step(call, handle, path, rest))
    return steps


class Crash(NamedTuple):
    """printed: lines that the program had printed; files: name -> content of what the disk then holds."""

    printed: list[str]
    files: dict[str, bytes]


def crashes(steps: Sequence[Step], folder: Path, cuts: Sequence[int], random: Random) -> Iterator[Crash]:
    """What is there after a power loss before each of the steps `cuts`: once with all luck lost, twice with some."""
    disk, printed, wanted = _Disk(str(folder)), b"", set(cuts)
    for number, step in enumerate(steps):
        if number in wanted:
            lines = printed.decode().split("\n")[:-1]
            for luck in (0.0, random.random(), random.random()):
                yield Crash(lines, disk.after_power_loss(luck, random))
        if step.handle == "1":
            printed += _data(step.rest)
        else:
            disk.take(step)


@dataclass
class _File:
    """safe: what was synchronised; later: writes (offset, bytes) and new lengths (length, None) since then."""

    safe: bytearray = field(default_factory=bytearray)
    length: int = 0
    later: list[tuple[int, bytes | None]] = field(default_factory=list)


class _Disk:
    """Files of one folder. A change of its entries is (name, file), or (name, None) where the name goes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._names: dict[str, _File] = {}
        self._safe_names: dict[str, _File] = {}
        self._changes: list[list[tuple[str, _File | None]]] = []

    def take(self, step: Step) -> None:
        if step.path == self._folder:
            if step.call in ("fsync", "fdatasync"):
                for change in self._changes:
                    _enter(self._safe_names, change)
                self._changes = []
            return
        name = step.path.removeprefix(f"{self._folder}/")
        if step.call == "openat":
            if name not in self._names and "O_CREAT" in step.rest:
                self._change((name, _File()))
            if "O_TRUNC" in step.rest:
                self._write(name, 0, None)
        elif step.call == "unlink":
            self._change((name, None))
        elif step.call == "rename":
            newer = _text(step.rest.split(", ")[1]).removeprefix(f"{self._folder}/")
            self._change((newer, self._names[name]), (name, None))
        elif name not in self._names:
            assert name.endswith("(deleted)"), name
        elif step.call == "pwrite64":
            self._write(name, int(step.rest.rpartition(", ")[2]), _data(step.rest))
        elif step.call == "write":  # to the end: what is tested opens with O_APPEND
            self._write(name, self._names[name].length, _data(step.rest))
        elif step.call == "ftruncate":
            self._write(name, int(step.rest), None)
        else:
            file = self._names[name]
            for at, data in file.later:
                _put(file.safe, at, data)
            file.later = []

    def after_power_loss(self, luck: float, random: Random) -> dict[str, bytes]:
        names = dict(self._safe_names)
        for change in self._changes[: round(luck * len(self._changes))]:
            _enter(names, change)
        return {name: _survived(file, luck, random) for name, file in names.items()}

    def _change(self, *change: tuple[str, _File | None]) -> None:
        _enter(self._names, change)
        self._changes.append(list(change))

    def _write(self, name: str, at: int, data: bytes | None) -> None:
        file = self._names[name]
        file.later.append((at, data))
        file.length = at if data is None else max(file.length, at + len(data))


def _enter(names: dict[str, _File], change: Sequence[tuple[str, _File | None]]) -> None:
    for name, file in change:
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def _survived(file: _File, luck: float, random: Random) -> bytes:
    content = bytearray(file.safe)
    for at, data in file.later:
        if data is None:
            if random.random() < luck:
                _put(content, at, None)
            continue
        for start in range(0, len(data), SECTOR_BYTES):
            if random.random() < luck:
                _put(content, at + start, data[start : start + SECTOR_BYTES])
    return bytes(content)


def _put(content: bytearray, at: int, data: bytes | None) -> None:
    end = at if data is None else at + len(data)
    content.extend(bytes(max(0, end - len(content))))
    if data is None:
        del content[at:]
    else:
        content[at:end] = data


def _data(rest: str) -> bytes:
    return _bytes(rest[1 : rest.index('"', 1)])


def _text(quoted: str) -> str:
    return _bytes(quoted.strip('"')).decode()


def _bytes(escaped: str) -> bytes:
    return _BYTE.sub(lambda match: bytes([int(match[1], 16)]), escaped.encode())
