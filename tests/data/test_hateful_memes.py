"""Hateful Memes: which files are taken, what a line becomes, and what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sets import MEMES, memes, picture

from rep_edge.config import HatefulMemesData
from rep_edge.data.hateful_memes import read_hateful_memes
from rep_edge.data.pairs import Pairs
from rep_edge.errors import InputError


def read(root: Path) -> Pairs:
    return read_hateful_memes(HatefulMemesData(root=str(root)))


def test_every_line_is_an_example(tmp_path: Path) -> None:
    found = read(memes(tmp_path))
    assert (found.name, found.labels) == ("hateful_memes", ("not hateful", "hateful"))
    assert [pair.recording for pair in found.pairs] == ["00001", "00002", "00003", "00004", "00005"]
    assert [pair.text for pair in found.pairs] == ["good morning", "bad morning", "", "noon", "night"]
    assert [pair.side for pair in found.pairs] == ["train", "train", "validation", "test", "test"]
    assert found.pairs[0].picture == tmp_path / "img" / "00001.png"
    assert found.targets.dtype == np.int64
    assert found.targets.tolist() == [0, 1, 1, 0, 1]


def test_the_names_of_both_releases_are_known(tmp_path: Path) -> None:
    root = memes(tmp_path)
    (root / "dev.jsonl").rename(root / "dev_seen.jsonl")
    (root / "test_seen.jsonl").rename(root / "test.jsonl")
    assert [pair.side for pair in read(root).pairs] == ["train", "train", "validation", "test", "test"]


def test_the_labelled_test_file_goes_before_the_one_without_labels(tmp_path: Path) -> None:
    root = memes(tmp_path, {**MEMES, "test.jsonl": [("00009", None, "unknown")]})
    assert "00009" not in [pair.recording for pair in read(root).pairs]
    (root / "test_seen.jsonl").unlink()
    with pytest.raises(InputError, match=r"test.jsonl: line 1, label: is missing; put test_seen.jsonl beside it"):
        read(root)


def test_ids_may_be_numbers_and_blank_lines_are_none(tmp_path: Path) -> None:
    root = memes(tmp_path)
    lines = (root / "train.jsonl").read_text().replace('"id": "00002"', '"id": 2')
    (root / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.replace("\n", "\r\n\r\n").encode())
    assert [pair.recording for pair in read(root).pairs][:2] == ["00001", "2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 2}, r"line 2: Expected `int` <= 1 - at `\$.label`"),
        ({"label": "1"}, r"line 2: Expected `int \| null`, got `str` - at `\$.label`"),
        ({"label": None}, "line 2, label: is missing; mend the line"),
        ({"text": None}, r"line 2: Expected `str`, got `null` - at `\$.text`"),
        ({"id": "00001"}, "line 2: 00001 is there twice, first in .* line 1"),
        ({"img": "img/00099.png"}, "line 2, img: there is no picture .*00099.png"),
        ({"img": "../00001.png"}, "line 2, img: '../00001.png' leads out of"),
        ({"img": "/etc/passwd"}, "line 2, img: '/etc/passwd' leads out of"),
        ({"img": ""}, "line 2, img: there is no picture"),
    ],
)
def test_a_wrong_line_is_named_with_its_field(tmp_path: Path, change: dict[str, object], message: str) -> None:
    root = memes(tmp_path / "memes")
    picture(tmp_path / "00001.png")
    first, second = (root / "train.jsonl").read_text().splitlines()
    (root / "train.jsonl").write_text(f"{first}\n{json.dumps({**json.loads(second), **change})}\n")
    with pytest.raises(InputError, match=message) as caught:
        read(root)
    assert str(caught.value).startswith(str(root / "train.jsonl"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [b'{"id": "00001", "im', b"\xff\xfe{}", b"[" * 100_000, b"7"])
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    root = memes(tmp_path)
    (root / "train.jsonl").write_bytes((root / "train.jsonl").read_bytes() + damage)
    with pytest.raises(InputError, match=r"train.jsonl: line 3: .*; mend the line"):
        read(root)


FIELDS = {"id": st.integers() | st.text(), "img": st.text() | st.just("img/00001.png"), "label": st.integers(-1, 2)}
LINES = st.binary(max_size=40) | st.fixed_dictionaries({**FIELDS, "text": st.text() | st.none()}).map(
    lambda line: json.dumps(line).encode()
)


@settings(max_examples=50, deadline=None)
@given(line=LINES)
def test_any_line_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    root = memes(tmp_path_factory.mktemp("memes"))
    (root / "train.jsonl").write_bytes((root / "train.jsonl").read_bytes() + line)
    found: Pairs | None = None
    with contextlib.suppress(InputError):
        found = read(root)
    assert found is None or all(pair.picture.is_file() for pair in found.pairs)


def test_a_picture_name_too_long_for_any_folder_is_not_there(tmp_path: Path) -> None:
    root = memes(tmp_path)
    line = {"id": 9, "img": f"{'x' * 5000}/a.png", "label": 0, "text": "long"}
    (root / "train.jsonl").write_text(json.dumps(line))
    with pytest.raises(InputError, match="line 1, img: there is no picture"):
        read(root)


@pytest.mark.parametrize("name", ["train.jsonl", "dev.jsonl", "test_seen.jsonl"])
def test_a_side_without_a_file_is_named(tmp_path: Path, name: str) -> None:
    root = memes(tmp_path)
    (root / name).unlink()
    with pytest.raises(InputError, match=f"{name}: there is no such file"):
        read(root)
