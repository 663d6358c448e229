"""MM-IMDb: which movies stand for which genres, what is dropped, and what is refused."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_sets import MOVIE_SIDES, MOVIES, as_json, movies

from rep_edge.config import MmimdbData
from rep_edge.data.mmimdb import GENRES, read_mmimdb
from rep_edge.data.pairs import Pairs
from rep_edge.errors import InputError


def read(root: Path) -> Pairs:
    return read_mmimdb(MmimdbData(root=str(root)))


def test_a_movie_is_one_example_of_all_its_genres(tmp_path: Path) -> None:
    found = read(movies(tmp_path))
    assert (found.name, found.labels) == ("mmimdb", GENRES)
    assert len(GENRES) == 23
    assert GENRES[0] == "Drama"
    assert GENRES[-1] == "Film-Noir"
    assert [pair.recording for pair in found.pairs] == ["0000001", "0000002", "0000003", "0000004"]
    assert [pair.side for pair in found.pairs] == ["train", "train", "validation", "test"]
    assert [pair.picture for pair in found.pairs] == [tmp_path / "images" / f"{m}.jpeg" for m in MOVIES]
    assert (found.targets.dtype, found.targets.shape) == (np.float32, (4, 23))
    rows = [{GENRES[i] for i in np.flatnonzero(row)} for row in found.targets]
    assert rows == [{"Crime", "Drama"}, {"Romance"}, {"Adventure"}, {"Horror"}]
    assert found.report == ["genres outside the 23 ignored: News 1"]


def test_validation_and_test_take_the_first_plot_that_says_something(tmp_path: Path) -> None:
    texts = {pair.recording: pair.text for pair in read(movies(tmp_path)).pairs}
    assert (texts["0000003"], texts["0000004"]) == ("a ship", "a ghost")


def test_training_draws_among_a_movies_plots_and_always_the_same(tmp_path: Path) -> None:
    many = {f"{number:07d}": {"plot": ["one", "two", "three"], "genres": ["War"]} for number in range(90)}
    sides = {"train": list(many)[:-2], "dev": list(many)[-2:-1], "test": list(many)[-1:]}
    found = read(movies(tmp_path, many, sides))
    counts = Counter(pair.text for pair in found.pairs if pair.side == "train")
    assert set(counts) == {"one", "two", "three"}
    assert min(counts.values()) > 88 / 3 * 0.6
    as_json(tmp_path / "split.json", {**sides, "train": sides["train"][40:]})
    again = {pair.recording: pair.text for pair in read(tmp_path).pairs}
    assert again == {pair.recording: pair.text for pair in found.pairs if pair.recording in again}


def test_movies_that_lack_something_are_dropped_and_counted(tmp_path: Path) -> None:
    extra = {"0000005": {"genres": ["War"]}, "0000006": {"plot": [" "], "genres": ["War"]}}
    extra |= {"0000007": {"plot": ["a march"], "genres": []}, "0000008": {"plot": ["a trench"], "genres": ["War"]}}
    root = movies(tmp_path, MOVIES | extra, MOVIE_SIDES | {"train": ["0000001", *extra]})
    (root / "images" / "0000008.jpeg").unlink()
    found = read(root)
    assert [pair.recording for pair in found.pairs if pair.side == "train"] == ["0000001"]
    assert len(found.targets) == len(found.pairs)
    assert found.report[:3] == [
        "2 movies without a plot left out",
        "1 movies without a poster left out",
        "1 movies without genres left out",
    ]


def test_no_picture_is_opened(tmp_path: Path) -> None:
    root = movies(tmp_path)
    for path in (root / "images").iterdir():
        path.write_bytes(b"no picture")
    assert len(read(root).pairs) == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels/0000002.json", {"plot": "a kiss", "genres": ["Romance"]}, r"Expected `array \| null`, got `str`"),
        (
            "labels/0000002.json",
            {"plot": ["a kiss"], "genres": [7]},
            r"got `int` - at `\$.genres\[0\]`",
        ),
        ("split.json", {"train": ["0000001"], "test": []}, "missing required field `dev`"),
        ("split.json", MOVIE_SIDES | {"dev": ["0000001"]}, "dev: 0000001 is there twice, first in .*: train"),
        ("split.json", MOVIE_SIDES | {"dev": ["0000009"]}, "dev: movie 0000009 has no file labels/0000009.json"),
        ("split.json", MOVIE_SIDES | {"dev": ["../../secret"]}, "dev: 'images/../../secret.jpeg' leads out of"),
        ("split.json", MOVIE_SIDES | {"dev": ["..\\secret"]}, "leads out of"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_file_and_field(
    tmp_path: Path, name: str, content: object, message: str
) -> None:
    root = movies(tmp_path)
    as_json(root / name, content)
    with pytest.raises(InputError, match=message) as caught:
        read(root)
    assert str(caught.value).startswith(str(root / name))
    assert "\n" not in str(caught.value)


def test_a_cut_off_file_is_named(tmp_path: Path) -> None:
    root = movies(tmp_path)
    (root / "labels" / "0000001.json").write_text('{"plot": ["a ho')
    with pytest.raises(InputError, match=re.escape(str(root / "labels" / "0000001.json"))):
        read(root)


def test_a_folder_or_an_index_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no such folder; data\.root names"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"split.json: there is no such file"):
        read(tmp_path)
