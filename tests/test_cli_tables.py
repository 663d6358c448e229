"""Tables at any width: no cell is ever broken, and a terminal that is too narrow gets paragraphs."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rep_edge.cli.tables import print_table

COLUMNS = ("live", "lowest probability", "layers")
ROWS = [("acoustic+seismic", "0.123", "37, 5 kept in fp32"), ("acoustic", "0.5", "[bold]12[/bold]")]


def printed(
    width: int, *, terminal: bool, columns: tuple[str, ...] = COLUMNS, rows: list[tuple[str, ...]] = ROWS
) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, no_color=True, color_system=None)
    print_table(console, "Title", columns, rows)
    return out.getvalue()


def test_a_table_that_fits_is_a_table() -> None:
    lines = printed(80, terminal=True).splitlines()
    assert lines[0].strip() == "Title"
    assert "│ acoustic+seismic │ 0.123              │ 37, 5 kept in fp32 │" in lines
    assert "│ acoustic         │ 0.5                │ [bold]12[/bold]    │" in lines


def test_headers_are_broken_between_words_first() -> None:
    lines = printed(56, terminal=True).splitlines()
    assert "│ acoustic+seismic │ 0.123       │ 37, 5 kept in fp32 │" in lines
    assert any("lowest" in line and "probability" not in line for line in lines)


def test_a_narrower_terminal_gets_a_paragraph_for_each_row() -> None:
    text = printed(40, terminal=True)
    assert [line.rstrip() for line in text.splitlines()] == [
        "Title:",
        "  acoustic+seismic: lowest probability",
        "  0.123; layers 37, 5 kept in fp32",
        "  acoustic: lowest probability 0.5;",
        "  layers [bold]12[/bold]",
    ]


@pytest.mark.parametrize("width", [10, 40, 80, 300])
def test_a_file_gets_the_whole_table(width: int) -> None:
    assert "│ acoustic+seismic │ 0.123              │ 37, 5 kept in fp32 │" in printed(width, terminal=False)


def test_no_rows_are_an_empty_table() -> None:
    for terminal in (True, False):
        assert "layers" in printed(80, terminal=terminal, rows=[])


WORDS = st.text("abcdefgh+", min_size=1, max_size=14)


@given(
    st.integers(20, 120),
    st.lists(WORDS, min_size=2, max_size=5),
    st.lists(st.lists(WORDS, min_size=5, max_size=5), min_size=1, max_size=3),
)
def test_every_word_is_whole_and_no_line_is_wider_than_the_terminal(
    width: int, columns: list[str], rows: list[list[str]]
) -> None:
    cut = [tuple(row[: len(columns)]) for row in rows]
    text = printed(width, terminal=True, columns=tuple(columns), rows=cut)
    assert max(map(len, text.splitlines())) <= width
    words = text.replace("│", " ").replace(";", " ").replace(":", " ").split()
    assert {word for row in cut for word in row} <= set(words)
