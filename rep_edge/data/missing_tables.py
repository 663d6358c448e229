"""Missing tables on disk: drawn once per side, then the same for every method that is compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rep_edge.data.label_files import read_json
from rep_edge.data.missing import draw_patterns
from rep_edge.errors import InputError
from rep_edge.files import write_file
from rep_edge.signals import Pattern, WindowSpec

_PER_LINE = 40


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """The file. table: per window 0 for complete, else i for a window that lacks the i-th name of `missing`."""

    modalities: list[str]
    missing: list[str]
    rate: float
    seed: int
    n: int
    table: list[int]


def table_path(folder: Path, name: str, side: str, missing: Sequence[str], rate: float) -> Path:
    """Where a table lies: the file's name tells data set, side, what is missing and the rate."""
    stem = "_".join([*(re.sub(r"[^\w.-]+", "-", part) for part in (name, side)), "+".join(missing), f"{rate:g}"])
    return folder / f"{stem}.json"


def missing_table(
    folder: Path, name: str, side: str, spec: WindowSpec, n: int, missing: Sequence[str], rate: float, seed: int
) -> list[Pattern]:
    """One pattern per window: each of the names `missing` is missing in rate / len(missing) of the n windows.

    name, side: of the data set. The paper's "text missing" is missing=("text",), its "both" all names. The table is
    read from `folder` where it lies there, else drawn by `draw_patterns` and written; the order of `missing` does not
    matter. Raises InputError where the file cannot be read or written, is damaged, or was drawn for something else;
    ValueError as `draw_patterns`.
    """
    ordered = sorted(missing, key=lambda m: spec.names.index(m) if m in spec.names else -1)
    path = table_path(folder, name, side, ordered, rate)
    if not path.exists():
        drawn = draw_patterns(spec, n, ordered, rate, seed)
        numbers = {spec.complete - {lost}: number for number, lost in enumerate(ordered, start=1)}
        table = _Table(list(spec.names), ordered, rate, seed, n, [numbers.get(pattern, 0) for pattern in drawn])
        write_file(path, _readable(table))
        return drawn
    table = _checked(path, _Table(list(spec.names), ordered, rate, seed, n, []))
    patterns = [spec.complete, *(spec.complete - {lost} for lost in ordered)]
    return [patterns[number] for number in table.table]


def _readable(table: _Table) -> bytes:
    """JSON with a field on each line and the table in lines of 40 numbers."""
    fields = msgspec.to_builtins(table)
    numbers = fields.pop("table")
    rows = [", ".join(map(str, numbers[i : i + _PER_LINE])) for i in range(0, len(numbers), _PER_LINE)]
    head = "".join(f'  "{field}": {msgspec.json.encode(value).decode()},\n' for field, value in fields.items())
    body = ",\n    ".join(rows)
    return f'{{\n{head}  "table": [\n    {body}\n  ]\n}}\n'.encode()


def _checked(path: Path, wanted: _Table) -> _Table:
    """The table in the file, which must be the one that is wanted."""
    found = read_json(path, _Table)
    for field in ("modalities", "missing", "rate", "seed", "n"):
        held, asked = getattr(found, field), getattr(wanted, field)
        if held != asked:
            raise InputError(
                f"{path}: is another table: its {field} is {held}, not {asked}; choose another folder for the tables, "
                "or remove this one"
            )
    if len(found.table) != found.n or not all(0 <= number <= len(found.missing) for number in found.table):
        raise InputError(
            f"{path}: table must hold {found.n} numbers from 0 to {len(found.missing)}; remove the file to draw it anew"
        )
    return found
