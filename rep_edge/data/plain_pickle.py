"""Read a pickle of plain data, and nothing but plain data: nothing in the file can run.

A pickle is a program whose instructions call functions by name. Python's reader can be told which names to allow, but
it trusts the rest: a few bytes make it set aside gigabytes, or hash a tuple for years, and numpy's own functions crash
on some states (`rep_edge.data.plain_arrays`). The reader below knows only the instructions that plain data needs, of
protocols 0 to 5 and of Python 2; it builds each object itself and calls nothing that a file names. What a file can make
is bounded by its size.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import numpy as np

from rep_edge.data import plain_arrays
from rep_edge.data.plain_arrays import Array, NotPlainError
from rep_edge.data.plain_stack import EndedError, Stack, keys, paired
from rep_edge.errors import InputError

_MOST_INSTRUCTIONS = 20_000_000
"""The largest feature file has about 1 million: some 10 for each text and number outside arrays."""
_LARGEST_INTEGER = 9
"""Bytes: 64 bits and a sign."""
_ESCAPED = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class _Known(Enum):
    """What a file may name."""

    ARRAY = "ndarray"
    KIND = "dtype"
    NEW_ARRAY = "_reconstruct"
    FROM_BUFFER = "_frombuffer"
    SCALAR = "scalar"
    ENCODE = "encode"
    BYTES = "bytes"
    BYTEARRAY = "bytearray"
    SET = "set"
    FROZENSET = "frozenset"


_HOMES = {
    **dict.fromkeys(("numpy.core.multiarray", "numpy._core.multiarray"), (_Known.NEW_ARRAY, _Known.SCALAR)),
    **dict.fromkeys(("numpy.core.numeric", "numpy._core.numeric"), (_Known.FROM_BUFFER,)),
    **dict.fromkeys(("builtins", "__builtin__"), (_Known.BYTES, _Known.BYTEARRAY, _Known.SET, _Known.FROZENSET)),
    "numpy": (_Known.ARRAY, _Known.KIND),
    "_codecs": (_Known.ENCODE,),
}
_NAMES = {(module, known.value): known for module, names in _HOMES.items() for known in names}


def load_plain(path: Path) -> object:
    """What a pickle holds: None, booleans, numbers of at most 64 bits, texts, bytes, lists, tuples, dicts and sets with
    such keys, numpy's numbers, and its arrays of booleans, integers, floats, texts, bytes or objects that are these.

    Texts of Python 2 are read as Latin-1. Arrays are read-only. Lists, tuples and dicts may hold one another to any
    depth, and themselves: do not walk them without a bound.

    Raises InputError where the file cannot be read, is damaged, or asks for anything else, which it then names.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; name a pickle file")
    try:
        with path.open("rb") as file:
            return _Reader(Stack(file, os.fstat(file.fileno()).st_size)).run()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except NotPlainError as error:
        raise InputError(
            f"{path}: {error}, which plain data does not need; nothing was run, use another file"
        ) from None
    except EndedError:
        raise InputError(f"{path}: ends too early; fetch it again") from None
    except (IndexError, KeyError, ValueError):
        raise InputError(f"{path}: is no pickle, or a damaged one; fetch it again") from None
    except MemoryError:
        raise InputError(f"{path}: needs more memory than there is; use a larger machine") from None


class _Reader:
    """Runs the instructions of one file."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._unfilled: dict[int, Array] = {}

    def run(self) -> object:
        """The object that the file ends with. Raises NotPlainError and what `Stack` raises."""
        for _ in range(_MOST_INSTRUCTIONS):
            instruction = self.stack.read(1)
            if instruction == pickle.STOP:
                return self._result()
            if instruction in _REFUSED:
                raise NotPlainError(f"asks for {_REFUSED[instruction]}")
            if instruction in _BUILDERS:
                _BUILDERS[instruction](self)
            else:
                _INSTRUCTIONS[instruction](self.stack)
        raise NotPlainError(f"takes more than {_MOST_INSTRUCTIONS} steps to read")

    def _result(self) -> object:
        result = self.stack.pop()
        if self._unfilled or isinstance(result, _Known):
            raise ValueError(result)
        return result

    def name_in_lines(self) -> None:
        module = self.stack.line().decode("utf-8", "replace")
        self._name(module, self.stack.line().decode("utf-8", "replace"))

    def name_on_stack(self) -> None:
        self._name(*self.stack.several(2))

    def instance(self) -> None:
        """Always refused: an object of a class, by the class's name."""
        self.name_in_lines()
        raise NotPlainError("asks for an object of a class")

    def make(self) -> None:
        """Push what the call of a known function gives. There are no other calls."""
        known, arguments = self.stack.several(2)
        if not (isinstance(known, _Known) and isinstance(arguments, tuple)):
            raise ValueError(known)
        self.stack.push(self._made(known, arguments))

    def fill(self) -> None:
        """Give an array, or a kind of number, the state that the file has for it. Nothing else has a state."""
        state = self.stack.pop()
        match self.stack.last(object), state:
            case np.dtype() as kind, (int(), str() as order, *_):
                plain_arrays.set_order(kind, order)
            case np.ndarray() as array, (int(), tuple() as shape, np.dtype() as kind, int() as by_columns, data):
                del self._unfilled[id(array)]
                plain_arrays.fill(array, shape, kind, bool(by_columns), self._data(data))
            case _:
                raise NotPlainError("gives a state to an object that has none")

    def _name(self, module: object, name: object) -> None:
        """Push what the file names, as a word of ours."""
        known = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise NotPlainError(f"asks for {_told(module)}.{_told(name)}")
        self.stack.push(known)

    def _made(self, known: _Known, arguments: tuple[object, ...]) -> object:
        copied = self.stack.copied
        match known, arguments:
            case _Known.NEW_ARRAY, (named, *_) if named is _Known.ARRAY:
                array = plain_arrays.empty_array()
                self._unfilled[id(array)] = array
                return array
            case _Known.KIND, (str() as code, *_):
                return plain_arrays.kind_of(code)
            case _Known.FROM_BUFFER, (
                bytes() | bytearray() as data,
                np.dtype() as kind,
                tuple() as shape,
                str() as order,
            ):
                return plain_arrays.from_buffer(copied(data), kind, shape, order == "F")
            case _Known.SCALAR, (np.dtype() as kind, bytes() | str() as data):
                return plain_arrays.scalar(kind, _raw(copied(data)))
            case _Known.ENCODE, (str() as text, str() as codec) if codec == "latin1":
                return _raw(copied(text))
            case _Known.BYTES, ():
                return b""
            case _Known.BYTEARRAY, ():
                return bytearray()
            case _Known.BYTEARRAY, (bytes() as data,):
                return bytearray(copied(data))
            case _Known.SET, (list() as items,):
                return set(keys(copied(items)))
            case _Known.FROZENSET, (list() as items,):
                return frozenset(keys(copied(items)))
        raise NotPlainError(f"calls {known.value} in an unknown way")

    def _data(self, data: object) -> bytes | list[object]:
        """What an array is to be filled with."""
        if isinstance(data, bytes | str):
            return _raw(self.stack.copied(data))
        if isinstance(data, list):
            return self.stack.copied(data)
        raise ValueError(type(data))


def _told(part: object) -> str:
    """Part of a name that a file asks for, fit for one line of a message."""
    return ascii(part)[1:-1][:80] if isinstance(part, str) else "?"


def _raw(data: bytes | str) -> bytes:
    """Bytes, which protocols below 3 have as a text of Latin-1."""
    return data if isinstance(data, bytes) else data.encode("latin1")


def _integer(text: str) -> int:
    """In letters; protocol 0 writes booleans as 00 and 01."""
    if text in ("00", "01"):
        return text == "01"
    value = int(text.removesuffix("L"))
    if value.bit_length() >= 8 * _LARGEST_INTEGER:
        raise ValueError(text)
    return value


def _byte_integer(data: bytes) -> int:
    if len(data) > _LARGEST_INTEGER:
        raise ValueError(data)
    return int.from_bytes(data, "little", signed=True)


def _quoted(line: bytes) -> str:
    """A text as Python 2 writes it between quotes."""
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        raise ValueError(line)
    return _ESCAPED.sub(_unescaped, line[1:-1]).decode("latin1")


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return bytes([int(code[1:], 16)]) if len(code) > 1 else _ESCAPES[code]


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


_REFUSED = {
    **dict.fromkeys((pickle.PERSID, pickle.BINPERSID), "an object outside it"),
    **dict.fromkeys((pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX), "an object of a class"),
    **dict.fromkeys((pickle.EXT1, pickle.EXT2, pickle.EXT4), "a registered class"),
    **dict.fromkeys((pickle.NEXT_BUFFER, pickle.READONLY_BUFFER), "data outside it"),
    pickle.LONG4: "an integer of more than 64 bits",
}
_BUILDERS: dict[bytes, Callable[[_Reader], None]] = {
    pickle.GLOBAL: _Reader.name_in_lines,
    pickle.STACK_GLOBAL: _Reader.name_on_stack,
    pickle.INST: _Reader.instance,
    pickle.REDUCE: _Reader.make,
    pickle.BUILD: _Reader.fill,
}
_INSTRUCTIONS: dict[bytes, Callable[[Stack], object]] = {
    pickle.PROTO: lambda s: s.read(1),
    pickle.FRAME: lambda s: s.read(8),
    pickle.NONE: lambda s: s.push(None),
    pickle.NEWTRUE: lambda s: s.push(True),
    pickle.NEWFALSE: lambda s: s.push(False),
    pickle.INT: lambda s: s.push(_integer(s.number_line())),
    pickle.LONG: lambda s: s.push(_integer(s.number_line())),
    pickle.BININT: lambda s: s.push(s.number("<i")),
    pickle.BININT1: lambda s: s.push(s.number("<B")),
    pickle.BININT2: lambda s: s.push(s.number("<H")),
    pickle.LONG1: lambda s: s.push(_byte_integer(s.sized("<B"))),
    pickle.FLOAT: lambda s: s.push(float(s.number_line())),
    pickle.BINFLOAT: lambda s: s.push(s.real()),
    pickle.STRING: lambda s: s.push(_quoted(s.line())),
    pickle.BINSTRING: lambda s: s.push(s.sized("<i").decode("latin1")),
    pickle.SHORT_BINSTRING: lambda s: s.push(s.sized("<B").decode("latin1")),
    pickle.UNICODE: lambda s: s.push(s.line().decode("raw-unicode-escape")),
    pickle.SHORT_BINUNICODE: lambda s: s.push(_utf8(s.sized("<B"))),
    pickle.BINUNICODE: lambda s: s.push(_utf8(s.sized("<I"))),
    pickle.BINUNICODE8: lambda s: s.push(_utf8(s.sized("<Q"))),
    pickle.SHORT_BINBYTES: lambda s: s.push(s.sized("<B")),
    pickle.BINBYTES: lambda s: s.push(s.sized("<I")),
    pickle.BINBYTES8: lambda s: s.push(s.sized("<Q")),
    pickle.BYTEARRAY8: lambda s: s.push(bytearray(s.sized("<Q"))),
    pickle.EMPTY_TUPLE: lambda s: s.push(()),
    pickle.EMPTY_LIST: lambda s: s.push([]),
    pickle.EMPTY_DICT: lambda s: s.push({}),
    pickle.EMPTY_SET: lambda s: s.push(set()),
    pickle.MARK: Stack.mark,
    pickle.TUPLE: lambda s: s.push(tuple(s.above_mark())),
    pickle.TUPLE1: lambda s: s.push(s.several(1)),
    pickle.TUPLE2: lambda s: s.push(s.several(2)),
    pickle.TUPLE3: lambda s: s.push(s.several(3)),
    pickle.LIST: lambda s: s.push(s.above_mark()),
    pickle.DICT: lambda s: s.push(paired(s.above_mark())),
    pickle.FROZENSET: lambda s: s.push(frozenset(keys(s.above_mark()))),
    pickle.APPEND: lambda s: s.extend([s.pop()]),
    pickle.APPENDS: lambda s: s.extend(s.above_mark()),
    pickle.SETITEM: lambda s: s.store(list(s.several(2))),
    pickle.SETITEMS: lambda s: s.store(s.above_mark()),
    pickle.ADDITEMS: lambda s: s.add(s.above_mark()),
    pickle.POP: Stack.drop,
    pickle.POP_MARK: Stack.above_mark,
    pickle.DUP: lambda s: s.push(s.last(object)),
    pickle.PUT: lambda s: s.remember(int(s.number_line())),
    pickle.BINPUT: lambda s: s.remember(s.number("<B")),
    pickle.LONG_BINPUT: lambda s: s.remember(s.number("<I")),
    pickle.MEMOIZE: Stack.remember_next,
    pickle.GET: lambda s: s.recall(int(s.number_line())),
    pickle.BINGET: lambda s: s.recall(s.number("<B")),
    pickle.LONG_BINGET: lambda s: s.recall(s.number("<I")),
}
