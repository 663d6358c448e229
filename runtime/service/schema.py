"""The JSON Schema of the configuration file, for editors: every key with its unit, its default and what it does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec

from rep_edge.runtime.service.config import ServiceConfig

NAMES = re.compile(r"(?:^|(?<=[.;:,] )|(?<=\) ))(\w+(?:, \w+)*): ")
"""Where a docstring begins to explain one key or several: "host, port: where it listens"."""


def config_schema() -> bytes:
    """The schema as JSON text, draft 2020-12."""
    schema = msgspec.json.schema(ServiceConfig, schema_hook=_path)
    for section in schema["$defs"].values():
        _describe(section, section["description"])
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "rep-edge serve", **schema}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _path(kind: type) -> dict[str, Any]:
    """Paths are the one type that msgspec does not know."""
    if kind is not Path:
        raise NotImplementedError
    return {"type": "string", "format": "path"}


def _describe(section: dict[str, Any], docstring: str) -> None:
    """Give each key of a section what the docstring says of it, and the section the first lines."""
    keys = section["properties"]
    head, *rest = inspect.cleandoc(docstring).split("\n\n", 1)
    section["description"] = " ".join(head.split())
    text = " ".join(" ".join(rest).split())
    found = [match for match in NAMES.finditer(text) if set(match[1].split(", ")) <= keys.keys()]
    ends = [match.start() for match in found[1:]] + [len(text)]
    for match, end in zip(found, ends, strict=True):
        for name in match[1].split(", "):
            told = text[match.end() : end].strip().rstrip(";.")
            keys[name]["description"] = re.sub(r"\bNone\b", "null", told)
