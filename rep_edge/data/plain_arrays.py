"""numpy arrays out of the parts that a pickle has of them, each part checked before numpy sees it.

numpy's own reconstruction believes what it is given: numpy 2.4 crashes on an object array with fewer objects than its
shape says, on a record whose bytes are to be objects, and when many object arrays that hold one another are freed.

Every function raises ValueError for parts that do not fit together, NotPlainError for what plain data does not need.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.generic]
Kind: TypeAlias = "np.dtype[np.generic]"

_KINDS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,6}|O[48]?)")
_BYTE_ORDERS = ("<", ">", "=", "|")
_MOST_DIMENSIONS = 32
_LARGEST = 1 << 40
"""Bytes, dimensions of size 0 left out."""
_LAST_CODE_POINT = 0x10FFFF
_HELD = (str, bytes, int, float, type(None), np.number, np.bool_)
"""What object arrays may hold: containers or arrays in them could be arbitrarily deep."""


class NotPlainError(Exception):
    """Something that plain data does not need. The message completes "the file ..."."""


def kind_of(code: str) -> Kind:
    """The kind of number or text that a code such as f4 or U12 names; one of its own, so that its order can be set."""
    if _KINDS.fullmatch(code) is None:
        raise NotPlainError(f"has an array of kind {code[:20]!a}")
    return np.dtype(np.dtype("O" if "O" in code else code), copy=True)


def set_order(kind: Kind, order: str) -> None:
    """Give a kind another byte order, in its place, because what came before in the file may refer to it."""
    if order not in _BYTE_ORDERS:
        raise ValueError(order)
    if kind.newbyteorder(cast("Literal['<', '>', '=', '|']", order)) != kind:
        state = kind.__reduce__()[2]
        kind.__setstate__((state[0], order, *state[2:]))  # type: ignore[attr-defined]


def empty_array() -> Array:
    """An array to be filled."""
    array: Array = np.ndarray((0,), np.int8)
    return array


def fill(array: Array, shape: tuple[object, ...], kind: Kind, by_columns: bool, data: bytes | list[object]) -> None:
    """Make an array in its place, of bytes or, where it is of objects, of a list of numbers and texts."""
    if isinstance(data, list):
        _check_objects(kind, shape, data)
    else:
        _check_bytes(kind, shape, data)
    array.__setstate__((1, shape, kind, by_columns, data))  # type: ignore[arg-type]
    array.flags.writeable = False


def from_buffer(data: bytes | bytearray, kind: Kind, shape: tuple[object, ...], by_columns: bool) -> Array:
    """A read-only array that shares its bytes."""
    _check_bytes(kind, shape, data)
    flat: Array = np.frombuffer(data, kind)
    flat.flags.writeable = False
    return flat.reshape(shape, order="F" if by_columns else "C")


def scalar(kind: Kind, data: bytes) -> np.generic:
    """One number or text."""
    _check_bytes(kind, (), data)
    one: np.generic = np.frombuffer(data, kind)[0]
    return one


def _count(shape: tuple[object, ...], item: int) -> int:
    """Elements of an array of this shape and of `item` bytes each."""
    sizes = [size for size in shape if type(size) is int and 0 <= size <= _LARGEST]
    if len(sizes) < len(shape) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(shape)
    count = 1
    for size in sizes:
        count *= max(size, 1)
        if count * item > _LARGEST:
            raise ValueError(shape)
    return 0 if 0 in sizes else count


def _check_bytes(kind: Kind, shape: tuple[object, ...], data: bytes | bytearray) -> None:
    """Exactly the numbers or texts of the shape; texts of characters that exist."""
    if kind.hasobject or _count(shape, kind.itemsize) * kind.itemsize != len(data):
        raise ValueError(shape)
    if kind.kind == "U" and data:
        points = np.frombuffer(data, np.dtype("u4").newbyteorder(kind.byteorder))
        if int(points.max()) > _LAST_CODE_POINT:
            raise ValueError(points.max())


def _check_objects(kind: Kind, shape: tuple[object, ...], items: list[object]) -> None:
    if not kind.hasobject or _count(shape, kind.itemsize) != len(items):
        raise ValueError(shape)
    if not all(isinstance(item, _HELD) for item in items):
        raise NotPlainError("has an array of containers")
