"""UPMC Food-101: with its JSON files or from the tables that are downloaded, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_sets import as_json, dishes, picture

from rep_edge.config import Food101Data
from rep_edge.data.food101 import read_food101
from rep_edge.data.pairs import Pairs
from rep_edge.errors import InputError

SPLIT = {
    "train": ["ice_cream_0.jpg", "tacos_1.jpg"],
    "val": ["tacos_0.jpg", "ice_cream_2.jpg"],
    "test": ["tacos_12.jpg"],
}


def read(root: Path) -> Pairs:
    return read_food101(Food101Data(root=str(root)))


def prepared(root: Path) -> Path:
    """The set with the three JSON files; one picture has no text."""
    dishes(root)
    as_json(root / "class_idx.json", {"tacos": 0, "ice_cream": 1})
    texts = {name: f"about {name}" for side in SPLIT.values() for name in side}
    as_json(root / "text.json", {**texts, "ice_cream_2.jpg": " "})
    as_json(root / "split.json", SPLIT)
    return root


def test_the_json_files_decide_names_sides_and_numbers(tmp_path: Path) -> None:
    found = read(prepared(tmp_path))
    assert (found.name, found.labels) == ("food101", ("tacos", "ice_cream"))
    assert [pair.recording for pair in found.pairs] == [*SPLIT["train"], "tacos_0.jpg", "tacos_12.jpg"]
    assert [pair.side for pair in found.pairs] == ["train", "train", "validation", "test"]
    assert found.targets.dtype == np.int64
    assert found.targets.tolist() == [1, 0, 0, 0]
    assert found.pairs[0].text == "about ice_cream_0.jpg"
    assert found.pairs[2].picture == tmp_path / "images" / "train" / "tacos" / "tacos_0.jpg"
    assert found.pairs[3].picture == tmp_path / "images" / "test" / "tacos" / "tacos_12.jpg"
    assert found.report == ["1 pictures without a title left out"]


def test_the_downloaded_tables_are_enough(tmp_path: Path) -> None:
    root = dishes(tmp_path)
    picture(root / "images" / "train" / "tacos" / "tacos_99.jpg")
    picture(root / "images" / "train" / "tacos" / "._tacos_1.jpg")
    found = read(root)
    assert found.labels == ("ice_cream", "tacos")
    text = {pair.recording: pair.text for pair in found.pairs}
    assert text["ice_cream_3.jpg"] == "ice_cream, no. 3"
    assert {pair.recording for pair in found.pairs if pair.side == "test"} == {
        f"{dish}_{number}.jpg" for dish in found.labels for number in (12, 13, 14)
    }
    assert found.report[0].startswith("no split.json: 10% of each class's training pictures")
    assert found.report[1:] == ["1 pictures without a title left out"]
    for pair, target in zip(found.pairs, found.targets, strict=True):
        assert pair.recording.startswith(found.labels[target])


def test_a_tenth_of_each_class_validates_and_always_the_same(tmp_path: Path) -> None:
    found = read(dishes(tmp_path, train=20))
    drawn = [pair.recording for pair in found.pairs if pair.side == "validation"]
    assert sorted(name.rsplit("_", 1)[0] for name in drawn) == ["ice_cream"] * 2 + ["tacos"] * 2
    assert drawn == [pair.recording for pair in read(tmp_path).pairs if pair.side == "validation"]
    assert drawn != ["ice_cream_0.jpg", "ice_cream_1.jpg", "tacos_0.jpg", "tacos_1.jpg"]


def test_a_header_is_no_title(tmp_path: Path) -> None:
    root = dishes(tmp_path)
    table = root / "texts" / "train_titles.csv"
    table.write_text("image,title,class\n" + table.read_text())
    assert len(read(root).pairs) == 30


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("class_idx.json", {"tacos": 0, "ice_cream": 2}, "its 2 classes must be numbered 0 to 1"),
        ("class_idx.json", {"tacos": 0, "ice_cream": 0}, "its 2 classes must be numbered 0 to 1"),
        ("class_idx.json", {"tacos": 0, "ice_cream": "1"}, "Expected `int`, got `str`"),
        ("text.json", {"tacos_0.jpg": 3}, "Expected `str`, got `int`"),
        ("split.json", {"train": []}, "missing required field `val`"),
        ("split.json", {**SPLIT, "val": ["tacos_1.jpg"]}, "tacos_1.jpg is there twice"),
        ("split.json", {**SPLIT, "val": ["pizza_1.jpg"]}, "pizza_1.jpg: class 'pizza' is not in class_idx.json"),
        ("split.json", {**SPLIT, "val": ["tacos.jpg"]}, "'tacos.jpg' names no class"),
        ("split.json", {**SPLIT, "test": ["tacos_1.jpg"], "train": []}, r"no picture .*test/tacos/tacos_1.jpg"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_file(
    tmp_path: Path, name: str, content: object, message: str
) -> None:
    root = prepared(tmp_path)
    as_json(root / name, content)
    with pytest.raises(InputError, match=message) as caught:
        read(root)
    assert str(caught.value).startswith(str(root / name))
    assert "\n" not in str(caught.value)


def test_a_name_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    root = prepared(tmp_path / "food")
    picture(tmp_path / "secret_1.jpg")
    name = "../../../../secret_1.jpg"
    as_json(root / "class_idx.json", {"tacos": 0, "ice_cream": 1, "../../../../secret": 2})
    as_json(root / "text.json", {**json.loads((root / "text.json").read_text()), name: "a secret"})
    as_json(root / "split.json", {**SPLIT, "test": [name]})
    with pytest.raises(InputError, match="leads out of"):
        read(root)


def test_a_wrong_table_is_named_with_its_line(tmp_path: Path) -> None:
    root = dishes(tmp_path)
    table = root / "texts" / "train_titles.csv"
    rows = table.read_text()
    for row, message in {
        "tacos_0.jpg": "line 25: has no title",
        "tacos_0.jpg,again,tacos": "line 25: tacos_0.jpg is there twice",
        "tacos_77.jpg,a lost one,tacos": "has no picture tacos_77.jpg, which has a title",
    }.items():
        table.write_text(rows + row + "\n")
        with pytest.raises(InputError, match=message):
            read(root)
    table.write_bytes(b"tacos_0.jpg,\xff\xfe\n")
    with pytest.raises(InputError, match=r"train_titles.csv: is no CSV text in UTF-8"):
        read(root)
    table.unlink()
    with pytest.raises(InputError, match=r"train_titles.csv: there is no such file, nor text.json"):
        read(root)


def test_a_side_without_pictures_is_named(tmp_path: Path) -> None:
    root = dishes(tmp_path, test=0)
    with pytest.raises(InputError, match=r"images/test: holds no pictures"):
        read(root)
