"""A YAML file as plain values, with the line of every key: so that a mistake is told with its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rep_edge.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import yaml

LARGEST_BYTES = 1 << 20
MOST_VALUES = 20_000
"""Values after aliases are followed: a few lines of them can stand for billions."""

DEEPEST = 32
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""Numbers such as 1e12, which YAML 1.1 takes for text and people do not."""


class Document(NamedTuple):
    """What a file says. lines: "nodes[0].name" -> the line it stands on, from 1; "" for the whole."""

    path: Path
    values: object
    lines: dict[str, int]

    def place(self, key: str) -> str:
        """ "rep-edge.yaml: line 14, nodes[0].name"; a key that is not there has the line of what it belongs to."""
        nearest = key
        while nearest not in self.lines:
            nearest = nearest[: max(nearest.rfind("."), nearest.rfind("["), 0)]
        return f"{self.path.name}: line {self.lines[nearest]}" + (f", {key}" if key else "")

    def problem(self, key: str, what: str) -> InputError:
        """The error that says what is wrong with a key."""
        return InputError(f"{self.place(key)}: {what}")


def read_yaml(path: Path) -> Document:
    """Read and compose a file; dates, times and the like stay the text that they are.

    Raises InputError that names file and line: no YAML, a key given twice, a tag, `<<`, too large, nested too deeply;
    MissingExtraError without PyYAML.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("service", "PyYAML") from error
    loader = None
    try:
        loader = yaml.SafeLoader(_text(path))
        root = loader.get_single_node()
        if root is None:
            raise InputError(f"{path}: is empty; examples/rep-edge.yaml shows what belongs there")
        walk = _Walk(path, loader)
        return Document(path, walk.value(root, ""), walk.lines)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        hint = '; put text that holds ":" in quotes' if "mapping values" in str(error.problem) else ""
        raise InputError(f"{path.name}: {line}is no YAML here ({error.problem}){hint}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path.name}: is no YAML ({str(error).splitlines()[0]})") from error
    except RecursionError as error:
        raise InputError(f"{path.name}: is nested too deeply") from error
    finally:
        if loader is not None:
            loader.dispose()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > LARGEST_BYTES:
        raise InputError(f"{path}: is larger than {LARGEST_BYTES} bytes; that is no configuration")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8 text") from error


class _Walk:
    """Values of a tree of nodes, and the line of each."""

    def __init__(self, path: Path, loader: yaml.SafeLoader) -> None:
        self._path, self._loader = path, loader
        self._count = 0
        self.lines: dict[str, int] = {}

    def value(self, node: yaml.Node, key: str, depth: int = 0) -> object:
        """The value of a node at a key, aliases followed."""
        import yaml

        self.lines.setdefault(key, _line(node))
        self._count += 1
        if self._count > MOST_VALUES or depth > DEEPEST:
            raise self._refuse(node, "stands for too many values; write them out, without aliases")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, f"{key}[{i}]", depth + 1) for i, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, key: str, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for name_node, child in node.value:
            name = name_node.value
            if not isinstance(name, str):
                raise self._refuse(name_node, "a key must be a word")
            if name == "<<":
                raise self._refuse(name_node, "<< is not read; give the alias to a whole key")
            if name in found:
                raise self._refuse(name_node, f"{name} is given twice")
            inner = f"{key}.{name}" if key else name
            self.lines.setdefault(inner, _line(name_node))
            found[name] = self.value(child, inner, depth + 1)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> object:
        import yaml

        plain = node.style is None
        implied = self._loader.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]
        if node.tag != implied:
            raise self._refuse(node, f"the tag {node.tag} is not read")
        kind = node.tag.rpartition(":")[2]
        if kind == "str" and plain and EXPONENT.fullmatch(node.value):
            return float(node.value)
        # In YAML 1.1 what looks like a time, 12:30, is a number to the base of 60.
        if kind not in ("null", "bool", "int", "float") or ":" in node.value:
            return node.value
        try:
            value: object = self._loader.construct_object(node)
        except ValueError as error:
            raise self._refuse(node, "is no number") from error
        return value

    def _refuse(self, node: yaml.Node, what: str) -> InputError:
        return InputError(f"{self._path.name}: line {_line(node)}: {what}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
