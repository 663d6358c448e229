"""What msgspec found wrong with a configuration: the key, and words for the one who wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

Step: TypeAlias = "str | int | None"
"""From a value to one within it: a key, a place in a list, or a key that msgspec does not name."""

PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<way>.*)`)?", re.DOTALL)
STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<place>\d+)\]|\[\.\.\.\]")

UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
MISSING = re.compile(r"Object missing required field `(.*)`")
NO_CHOICE = re.compile(r"Invalid enum value (.*)")
WRONG_KIND = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
OWN = re.compile(r"([\w\[\].+-]+): (.*)", re.DOTALL)
"""What a struct says of one of its keys."""

KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "keys with values",
    "array": "a list",
    "null": "nothing",
}


class Fault(NamedTuple):
    """key: "nodes[0].streams.acoustic.source"; what: is wrong with its value."""

    key: str
    what: str


def find_fault(values: object, section: type, convert: Callable[[object], object]) -> Fault | None:
    """The first fault of values that `convert` makes a struct of type `section` of; None where it does."""
    refusal = _refusal(values, convert)
    if refusal is None:
        return None
    what, way = refusal
    while None in way:
        values, what, way = _named(values, what, way, convert)
    return _in_words(what, way, section)


def joined(key: str, inner: str) -> str:
    """ "nodes[0]" and "name" to "nodes[0].name"."""
    return f"{key}.{inner}" if key and not inner.startswith("[") else key + inner


def _refusal(values: object, convert: Callable[[object], object]) -> tuple[str, list[Step]] | None:
    """What is wrong, and the way there; None where nothing is."""
    try:
        convert(values)
    except msgspec.ValidationError as error:
        match = PLACE.fullmatch(str(error))
        assert match is not None
        return match["what"], [
            int(step["place"]) if step["place"] else step["key"] for step in STEP.finditer(match["way"] or "")
        ]
    return None


def _named(
    values: object, what: str, way: Sequence[Step], convert: Callable[[object], object]
) -> tuple[object, str, list[Step]]:
    """The first nameless step of the way named: its key is the one whose value is refused when it stands alone."""
    at = way.index(None)
    mapping = _within(values, way[:at])
    for key, value in mapping.items():
        alone = _replaced(values, way[:at], {key: value})
        refusal = _refusal(alone, convert)
        if refusal is not None and len(refusal[1]) > at and refusal[1][at] is None:
            what, found = refusal
            return alone, what, [*way[:at], key, *found[at + 1 :]]
    return values, what, list(way[:at])


def _within(values: object, way: Sequence[Step]) -> Any:
    for step in way:
        values = values[step]  # type: ignore[index]
    return values


def _replaced(values: Any, way: Sequence[Step], value: object) -> object:
    """The values with another one at the end of the way."""
    if not way:
        return value
    step, *rest = way
    inner = _replaced(values[step], rest, value)
    if isinstance(values, dict):
        return {**values, step: inner}
    return [inner if i == step else old for i, old in enumerate(values)]


def _in_words(what: str, way: Sequence[Step], section: type) -> Fault:
    key = ""
    for step in way:
        key = joined(key, f"[{step}]" if isinstance(step, int) else str(step))
    kind = _kind(section, way)
    if match := UNKNOWN.fullmatch(what):
        return Fault(joined(key, match[1]), f"is no key here; known are {', '.join(_known(kind))}")
    if match := MISSING.fullmatch(what):
        return Fault(joined(key, match[1]), "is missing")
    if match := NO_CHOICE.fullmatch(what):
        return Fault(key, f"must be one of {', '.join(_known(kind))}, not {match[1]}")
    if match := WRONG_KIND.fullmatch(what):
        return Fault(key, f"must be {_told(match[1])}, not {_told(match[2])}")
    if match := OWN.fullmatch(what):
        return Fault(joined(key, match[1]), match[2])
    return Fault(key, what)


def _told(kinds: str) -> str:
    return " or ".join(KINDS.get(kind, kind) for kind in kinds.split(" | "))


def _kind(section: type, way: Sequence[Step]) -> msgspec.inspect.Type:
    """The type that belongs at the end of the way."""
    kind = _one(msgspec.inspect.type_info(section))
    for step in way:
        if isinstance(kind, msgspec.inspect.StructType):
            kind = _one(next(field.type for field in kind.fields if field.encode_name == step))
        elif isinstance(kind, msgspec.inspect.DictType):
            kind = _one(kind.value_type)
        elif isinstance(kind, (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)):
            kind = _one(kind.item_type)
    return kind


def _one(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The type itself where it may also be nothing."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(inner for inner in kind.types if not isinstance(inner, msgspec.inspect.NoneType))
    return kind


def _known(kind: msgspec.inspect.Type) -> list[str]:
    """Keys of a struct, or the choices that there are."""
    if isinstance(kind, msgspec.inspect.StructType):
        return [field.encode_name for field in kind.fields]
    return [str(value) for value in kind.values] if isinstance(kind, msgspec.inspect.LiteralType) else []
