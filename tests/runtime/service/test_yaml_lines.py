"""Plain values and the line of each key; what could mean two things, or fill the memory, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.errors import InputError
from rep_edge.runtime.service.yaml_lines import LARGEST_BYTES, Document, read_yaml


def document(tmp_path: Path, text: str | bytes) -> Document:
    path = tmp_path / "rep-edge.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def test_every_key_has_the_line_it_stands_on(tmp_path: Path) -> None:
    read = document(tmp_path, "# first\nnodes:\n  - name: yard\n    streams:\n      a: {source: 'mic:'}\nport: 1\n")
    assert read.values == {"nodes": [{"name": "yard", "streams": {"a": {"source": "mic:"}}}], "port": 1}
    lines = {"nodes": 2, "nodes[0]": 3, "nodes[0].streams": 4, "nodes[0].streams.a.source": 5, "port": 6}
    assert {key: read.lines[key] for key in lines} == lines


def test_a_key_that_is_not_there_has_the_line_of_what_it_belongs_to(tmp_path: Path) -> None:
    read = document(tmp_path, "nodes:\n  - name: yard\n")
    assert read.place("nodes[0].streams.acoustic") == "rep-edge.yaml: line 2, nodes[0].streams.acoustic"
    assert read.place("bundle") == "rep-edge.yaml: line 1, bundle"
    assert str(read.problem("nodes", "is odd")) == "rep-edge.yaml: line 1, nodes: is odd"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1", 1), ("-1.5", -1.5), ("true", True), ("~", None), ("", None), ("'1'", "1"), ("'mic:'", "mic:")],
        *[("1e12", 1e12), ("5E-3", 5e-3), ("'1e12'", "1e12")],
        *[("22:00", "22:00"), ("1:2:3.5", "1:2:3.5"), ("2026-01-02", "2026-01-02"), ("2026-99-99", "2026-99-99")],
    ],
)
def test_values_are_what_people_mean(tmp_path: Path, text: str, value: object) -> None:
    assert document(tmp_path, f"key: {text}").values == {"key": value}


def test_an_anchor_may_be_used_again(tmp_path: Path) -> None:
    assert document(tmp_path, "a: &x [1, 2]\nb: *x").values == {"a": [1, 2], "b": [1, 2]}


BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 64))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb:\n  a: 1\n  a: 2\n", "rep-edge.yaml: line 4: a is given twice"),
        ("a: [1\n", "rep-edge.yaml: line 2: is no YAML here"),
        ("a: 1\n--- \nb: 2", "rep-edge.yaml: line 2: is no YAML here"),
        ("a: mic:", 'put text that holds ":" in quotes'),
        ("a: *b", "rep-edge.yaml: line 1: is no YAML here (found undefined alias"),
        ("a: !!python/object:os.system x", "rep-edge.yaml: line 1: the tag"),
        ("a: !!int ''", "rep-edge.yaml: line 1: the tag"),
        ("a: !secret x", "rep-edge.yaml: line 1: the tag"),
        ("a: &x {b: 1}\nc: {<<: *x}", "rep-edge.yaml: line 2: << is not read"),
        ("[a]: 1", "rep-edge.yaml: line 1: a key must be a word"),
        (f"a: {'9' * 5000}", "rep-edge.yaml: line 1: is no number"),
        ("", "is empty"),
        ("# nothing", "is empty"),
        ("a: \x00", "rep-edge.yaml: is no YAML"),
        (b"a: \xff", "is no UTF-8 text"),
        (b"#" * (LARGEST_BYTES + 1), "is larger than"),
        (BOMB, "stands for too many values"),
        ("a: &a [*a]", "stands for too many values"),
        ("a: " + "[" * 100 + "]" * 100, "stands for too many values"),
        ("a: " + "[" * 10_000, "is nested too deeply"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_refused_is_told_in_one_line_with_its_place(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(InputError) as error:
        document(tmp_path, text)
    assert told in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 250


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read \(No such file"):
        read_yaml(tmp_path / "none.yaml")


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n01.<", max_size=60), st.binary(max_size=40)))
def test_no_file_ends_in_anything_but_values_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    try:
        told = document(tmp_path_factory.getbasetemp(), text).place("")
    except InputError as error:
        told = str(error)
    assert len(told.splitlines()) == 1
