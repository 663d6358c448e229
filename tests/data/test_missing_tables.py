"""Saved missing tables: drawn once, the same for everybody, readable, and never mistaken for another."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.data.missing import draw_patterns
from rep_edge.data.missing_tables import missing_table, table_path
from rep_edge.errors import InputError
from rep_edge.signals import FeatureSequence, Image, Pattern, Text, WindowSpec

PAIR = WindowSpec(modalities=(Image(name="image", size=4), Text(name="text")))
THREE = WindowSpec(modalities=tuple(FeatureSequence(name=n, length=1, width=1) for n in ("text", "audio", "vision")))


def table(
    folder: Path, missing: tuple[str, ...] = ("text",), rate: float = 0.7, seed: int = 0, n: int = 200
) -> list[Pattern]:
    return missing_table(folder, "mmimdb", "test", PAIR, n, missing, rate, seed)


def stored(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_text_missing_at_seventy_per_cent(tmp_path: Path) -> None:
    assert Counter(table(tmp_path)) == {PAIR.complete: 60, frozenset({"image"}): 140}


def test_both_is_half_of_the_rate_each(tmp_path: Path) -> None:
    counts = Counter(table(tmp_path, ("image", "text")))
    assert counts == {PAIR.complete: 60, frozenset({"image"}): 70, frozenset({"text"}): 70}


def test_three_modalities_share_the_rate(tmp_path: Path) -> None:
    drawn = missing_table(tmp_path, "CH-SIMS", "train", THREE, 300, THREE.names, 0.6, 0)
    assert Counter(drawn) == {THREE.complete: 120, **{THREE.complete - {name}: 60 for name in THREE.names}}
    assert missing_table(tmp_path, "CH-SIMS", "train", THREE, 300, THREE.names, 0.6, 0) == drawn


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 130), rate=st.floats(0, 1), seed=st.integers(0, 2**62), both=st.booleans())
def test_what_is_read_back_is_what_was_drawn(
    tmp_path_factory: pytest.TempPathFactory, n: int, rate: float, seed: int, both: bool
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    missing = ("image", "text") if both else ("text",)
    drawn = table(folder, missing, rate, seed, n)
    assert drawn == draw_patterns(PAIR, n, missing, rate, seed)
    assert table(folder, missing, rate, seed, n) == drawn


def test_the_file_decides_once_it_is_there(tmp_path: Path) -> None:
    table(tmp_path)
    content = json.loads(stored(tmp_path).read_text())
    content["table"] = [0] * 199 + [1]
    stored(tmp_path).write_text(json.dumps(content))
    assert table(tmp_path) == [PAIR.complete] * 199 + [frozenset({"image"})]


def test_the_order_of_names_makes_no_second_table(tmp_path: Path) -> None:
    assert table(tmp_path, ("text", "image")) == table(tmp_path, ("image", "text"))
    assert len(list(tmp_path.iterdir())) == 1


def test_the_name_tells_set_side_setting_and_rate(tmp_path: Path) -> None:
    table(tmp_path)
    assert stored(tmp_path).name == "mmimdb_test_text_0.7.json"
    assert (
        table_path(tmp_path, "recordings my/run", "train", ("a", "b"), 1).name == "recordings-my-run_train_a+b_1.json"
    )


def test_people_can_read_the_file(tmp_path: Path) -> None:
    table(tmp_path, ("image", "text"), n=100)
    lines = stored(tmp_path).read_text().splitlines()
    assert lines[1:6] == [
        '  "modalities": ["image","text"],',
        '  "missing": ["image","text"],',
        '  "rate": 0.7,',
        '  "seed": 0,',
        '  "n": 100,',
    ]
    assert max(map(len, lines)) < 130
    assert Counter(json.loads(stored(tmp_path).read_text())["table"]) == {0: 30, 1: 35, 2: 35}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", 1, "its seed is 1, not 0"),
        ("n", 7, "its n is 7, not 200"),
        ("rate", 0.5, r"its rate is 0\.5, not 0\.7"),
        ("missing", ["image"], r"its missing is \['image'\], not \['text'\]"),
        ("modalities", ["text", "image"], "its modalities is"),
        ("table", [0] * 199, "table must hold 200 numbers from 0 to 1"),
        ("table", [0] * 199 + [2], "table must hold 200 numbers from 0 to 1"),
        ("table", [0] * 199 + [-1], "table must hold 200 numbers from 0 to 1"),
        ("table", "none", "Expected `array`, got `str`"),
        ("more", 1, "unknown field `more`"),
    ],
)
def test_another_or_a_damaged_table_is_refused(tmp_path: Path, field: str, value: object, message: str) -> None:
    table(tmp_path)
    path = stored(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(InputError, match=message) as caught:
        table(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_nonsense_leaves_no_file(tmp_path: Path) -> None:
    for missing, rate in ((("sound",), 0.5), (("text", "text"), 0.5), (("text",), 1.5)):
        with pytest.raises(ValueError, match=r"missing must be|rate must"):
            table(tmp_path, missing, rate)
    assert not list(tmp_path.iterdir())
