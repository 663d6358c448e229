"""Tables for people: as wide as they need to be, and paragraphs instead where a terminal is too narrow."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

FRAME = 3
"""Characters that a column takes beside its cells."""

Rows = Sequence[tuple[str, ...]]


def print_table(console: Console, title: str, columns: Sequence[str], rows: Rows) -> None:
    """Print a table whose cells are never broken, and its headers between words alone.

    What is not a terminal takes every width. Where a terminal is too narrow, each row is a paragraph that begins with
    its first cell and names the others.
    """
    cells = [max((len(row[k]) for row in rows), default=0) for k in range(len(columns))]
    whole = [max(cell, len(column)) for cell, column in zip(cells, columns, strict=True)]
    least = [max(cell, *map(len, column.split())) for cell, column in zip(cells, columns, strict=True)]
    if not console.is_terminal:
        Console(file=console.file, width=max(console.width, _width(whole))).print(_table(title, columns, rows, whole))
    elif _width(whole) <= console.width:
        console.print(_table(title, columns, rows, whole))
    elif _width(least) <= console.width:
        console.print(_table(title, columns, rows, least))
    else:
        _print_paragraphs(console, title, columns, rows)


def _width(columns: Sequence[int]) -> int:
    return sum(columns) + FRAME * len(columns) + 1


def _table(title: str, columns: Sequence[str], rows: Rows, widths: Sequence[int]) -> Table:
    table = Table(title=title, title_justify="left")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in rows:
        # Names may hold brackets, which are no markup here.
        table.add_row(*map(Text, row))
    return table


def _print_paragraphs(console: Console, title: str, columns: Sequence[str], rows: Rows) -> None:
    console.print(f"{title}:", highlight=False, markup=False)
    for first, *others in rows:
        told = "; ".join(f"{column} {cell}" for column, cell in zip(columns[1:], others, strict=True))
        console.print(Padding(Text(f"{first}: {told}"), (0, 0, 0, 2)))
