"""Pairs of picture and text as a dataset: what a window holds, which split it brings, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_sets import MOVIES, dishes, ids, memes, movies, picture

from rep_edge.config import Food101Data, HatefulMemesData, MmimdbData, SplitConfig
from rep_edge.data.splits import split
from rep_edge.data.vision_language import VisionLanguageDataset
from rep_edge.errors import InputError
from rep_edge.signals import Image, Modality, Stream, Text, WindowSpec

IMAGE = Image(name="image", size=6, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
TEXT = Text(name="text", tokens=8, vocabulary=256, placeholder=(), end=255)


def spec(*modalities: Modality) -> WindowSpec:
    return WindowSpec(modalities=modalities)


BOTH = spec(IMAGE, TEXT)


def test_a_window_is_the_prepared_picture_and_the_tokens(tmp_path: Path) -> None:
    dataset = VisionLanguageDataset(HatefulMemesData(root=str(memes(tmp_path))), BOTH, ids)
    assert len(dataset) == 5
    window = dataset[1]
    assert list(window.values) == ["image", "text"]
    image, text = window.values["image"], window.values["text"]
    assert (image.dtype, image.shape) == (np.float32, (3, 6, 6))
    np.testing.assert_allclose(image[:, 3, 3], [1, -1, -1], atol=0.02)
    np.testing.assert_array_equal(text, ids("bad morning"))
    assert (window.target, window.recording, window.start_s) == (1, "00002", 0.0)


def test_a_movies_target_is_its_row_of_genres(tmp_path: Path) -> None:
    dataset = VisionLanguageDataset(MmimdbData(root=str(movies(tmp_path))), BOTH, ids)
    assert dataset.labels[int(np.flatnonzero(dataset[1].target)[0])] == "Romance"
    assert dataset[1].target.shape == (23,)
    assert dataset.recordings == tuple(MOVIES)


@pytest.mark.parametrize(("modality", "name"), [(IMAGE, "image"), (TEXT, "text")])
def test_either_modality_may_stand_alone_over_the_same_examples(tmp_path: Path, modality: Modality, name: str) -> None:
    config = Food101Data(root=str(dishes(tmp_path)))
    alone = VisionLanguageDataset(config, spec(modality), None if name == "image" else ids)
    both = VisionLanguageDataset(config, BOTH, ids)
    assert list(alone[3].values) == [name]
    np.testing.assert_array_equal(alone[3].values[name], both[3].values[name])
    assert alone.recordings == both.recordings
    assert alone.report == both.report


def test_the_published_split_is_the_one_that_is_used(tmp_path: Path) -> None:
    dataset = VisionLanguageDataset(HatefulMemesData(root=str(memes(tmp_path))), BOTH, ids)
    assert [indices.tolist() for indices in dataset.published_split()] == [[0, 1], [2], [3, 4]]
    parts = split(dataset, SplitConfig())
    assert parts.test.recordings == ("00004", "00005")
    assert parts.validation.targets.tolist() == [1]


def test_the_report_counts_sides_and_labels(tmp_path: Path) -> None:
    dataset = VisionLanguageDataset(HatefulMemesData(root=str(memes(tmp_path))), BOTH, ids)
    assert dataset.report == (
        "5 examples (train 2, validation 1, test 2): not hateful 2, hateful 3",
        "validation has no example of not hateful",
    )


def test_many_classes_are_reported_in_one_short_line(tmp_path: Path) -> None:
    root = dishes(tmp_path, classes=tuple(f"dish_{number}" for number in range(31)), train=2, test=1)
    dataset = VisionLanguageDataset(Food101Data(root=str(root)), BOTH, ids)
    assert dataset.report[-1] == "93 examples (train 31, validation 31, test 31): 31 classes of 3 to 3"


def test_other_modalities_are_refused(tmp_path: Path) -> None:
    config = HatefulMemesData(root=str(memes(tmp_path)))
    stream = WindowSpec(modalities=(Stream(name="image", rate_hz=1.0, samples=2),), hop_s=1.0)
    for wrong in (spec(Image(name="poster", size=6)), spec(IMAGE, Text(name="title")), stream):
        with pytest.raises(InputError, match=f"modality {wrong.names[-1]}: this data has image .* and text"):
            VisionLanguageDataset(config, wrong, ids)


def test_a_text_needs_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a tokenizer"):
        VisionLanguageDataset(HatefulMemesData(root=str(memes(tmp_path))), BOTH, None)


def test_a_side_or_a_class_without_examples_is_refused(tmp_path: Path) -> None:
    root = movies(tmp_path / "movies")
    (root / "images" / "0000004.jpeg").unlink()
    with pytest.raises(InputError, match="no example for test is left"):
        VisionLanguageDataset(MmimdbData(root=str(root)), BOTH, ids)
    lines: dict[str, list[tuple[str, int | None, str]]] = {
        "train.jsonl": [("1", 0, "a")],
        "dev.jsonl": [("2", 1, "b")],
        "test_seen.jsonl": [("3", 1, "c")],
    }
    with pytest.raises(InputError, match="class hateful has no training example"):
        VisionLanguageDataset(HatefulMemesData(root=str(memes(tmp_path / "memes", lines))), BOTH, ids)


def test_a_picture_that_cannot_be_used_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = memes(tmp_path)
    broken, narrow = root / "img" / "00001.png", root / "img" / "00002.png"
    broken.write_bytes(broken.read_bytes()[:40])
    picture(narrow, size=(1, 65535))
    dataset = VisionLanguageDataset(HatefulMemesData(root=str(root)), spec(Image(name="image", size=64), TEXT), ids)
    for index, path in enumerate((broken, narrow)):
        with pytest.raises(InputError) as caught:
            dataset[index]
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert dataset[2].recording == "00003"
