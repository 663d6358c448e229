"""MMSA's feature files become clips with a sentiment, and what does not fit gives one clear line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from rep_edge.config import SentimentData
from rep_edge.data.sentiment import SentimentDataset
from rep_edge.errors import InputError
from rep_edge.signals import FeatureSequence, Modality, Text, WindowSpec

SHAPES = {"text": (3, 6), "audio": (8, 4), "vision": (5, 2)}
CLIPS = {"train": 6, "valid": 3, "test": 4}
Name = Literal["CH-SIMS", "CMU-MOSI", "CMU-MOSEI"]
Content = dict[str, dict[str, Any]]


def content() -> Content:
    """An unaligned file; frames beyond the stated lengths are 0."""
    rng = np.random.default_rng(0)
    sides: Content = {}
    for side, clips in CLIPS.items():
        held: dict[str, Any] = {
            "raw_text": [f"{side} {clip}" for clip in range(clips)],
            "id": np.array([f"{side}_{clip // 2}$_${clip}" for clip in range(clips)], dtype=object),
            "regression_labels": np.linspace(-1, 1, clips).astype(np.float32),
            "annotations": ["Neutral"] * clips,
        }
        for name, shape in SHAPES.items():
            held[name] = rng.standard_normal((clips, *shape))
        for name in ("audio", "vision"):
            lengths = rng.integers(2, SHAPES[name][0] + 1, clips)
            held[name][np.arange(SHAPES[name][0]) >= lengths[:, None]] = 0
            held[f"{name}_lengths"] = lengths.tolist()
        sides[side] = held
    return sides


def spec(*names: str, **changed: tuple[int, int]) -> WindowSpec:
    shapes = {**SHAPES, **changed}
    sequences = (FeatureSequence(name=n, length=shapes[n][0], width=shapes[n][1]) for n in names or SHAPES)
    return WindowSpec(modalities=tuple(sequences))


def load(folder: Path, sides: object, shape: WindowSpec | None = None, name: Name = "CH-SIMS") -> SentimentDataset:
    path = folder / "features.pkl"
    path.write_bytes(pickle.dumps(sides, 4))
    return SentimentDataset(SentimentData(file=str(path), name=name), shape or spec())


def refusal(folder: Path, sides: object, shape: WindowSpec | None = None, name: Name = "CH-SIMS") -> str:
    with pytest.raises(InputError) as caught:
        load(folder, sides, shape, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_clips(tmp_path: Path) -> None:
    sides = content()
    dataset = load(tmp_path, sides)
    assert (dataset.name, dataset.labels, len(dataset)) == ("CH-SIMS", ("negative", "positive"), 13)
    assert dataset.targets.dtype == np.float32
    np.testing.assert_array_equal(dataset.targets, np.concatenate([s["regression_labels"] for s in sides.values()]))
    for clip, (side, row) in enumerate((side, row) for side, clips in CLIPS.items() for row in range(clips)):
        found = dataset[clip]
        assert list(found.values) == ["text", "audio", "vision"]
        for name, features in found.values.items():
            assert features.dtype == np.float32
            np.testing.assert_array_equal(features, sides[side][name][row].astype(np.float32))
        assert found.target == dataset.targets[clip]
        assert (found.recording, found.start_s) == (f"{side}_{row // 2}", 0.0)
        assert dataset.recordings[clip] == found.recording
    assert dataset[-1].recording == "test_1"
    with pytest.raises(IndexError):
        dataset[13]


def test_the_published_split(tmp_path: Path) -> None:
    train, validation, test = load(tmp_path, content()).published_split()
    assert (train.tolist(), validation.tolist(), test.tolist()) == ([*range(6)], [6, 7, 8], [9, 10, 11, 12])
    assert train.dtype == np.int64


@pytest.mark.parametrize("names", [("vision",), ("audio", "text"), ("text", "vision")])
def test_some_modalities(tmp_path: Path, names: tuple[str, ...]) -> None:
    sides = content()
    dataset = load(tmp_path, sides, spec(*names))
    assert list(dataset[0].values) == list(names)
    for side in sides.values():
        del side[next(name for name in SHAPES if name not in names)]
    assert len(load(tmp_path, sides, spec(*names))) == 13


def test_aligned_files_state_no_lengths(tmp_path: Path) -> None:
    sides = content()
    for side in sides.values():
        del side["audio_lengths"], side["vision_lengths"]
    assert len(load(tmp_path, sides)) == 13


def test_what_is_no_number_becomes_0(tmp_path: Path) -> None:
    sides = content()
    sides["train"]["audio"][2, 0, 1:3] = -np.inf
    sides["test"]["audio"][3, 1, 0] = np.nan
    sides["test"]["vision"][0, 0, 0] = 1e60  # beyond float32
    dataset = load(tmp_path, sides)
    assert dataset[2].values["audio"][0, 1:3].tolist() == [0, 0]
    assert dataset[2].values["audio"][0, 0] == np.float32(sides["train"]["audio"][2, 0, 0])
    assert dataset[12].values["audio"][1, 0] == 0
    assert dataset[9].values["vision"][0, 0] == 0
    assert "audio: 3 values of 2 clips are no finite numbers and became 0" in dataset.report
    assert "vision: 1 values of 1 clips are no finite numbers and became 0" in dataset.report


def test_frames_beyond_the_stated_length_become_0(tmp_path: Path) -> None:
    sides = content()
    sides["train"]["audio"][1, 6:] = 7
    sides["train"]["audio_lengths"][1] = 6
    sides["valid"]["audio_lengths"][0] = 300  # the length before the sequence was cut to the file's
    dataset = load(tmp_path, sides)
    assert not dataset[1].values["audio"][6:].any()
    np.testing.assert_array_equal(dataset[1].values["audio"][:2], sides["train"]["audio"][1, :2].astype(np.float32))
    np.testing.assert_array_equal(dataset[6].values["audio"], sides["valid"]["audio"][0].astype(np.float32))
    assert any(line.startswith("audio: 2 of ") and "beyond audio_lengths" in line for line in dataset.report)
    assert not any(line.startswith("vision") for line in dataset.report)


def test_lengths_that_leave_out_most_are_not_believed(tmp_path: Path) -> None:
    sides = content()
    for side in sides.values():
        side["vision"] = side["vision"][:, ::-1]  # padded in front
        side["vision_lengths"] = [1] * len(side["id"])
    dataset = load(tmp_path, sides)
    np.testing.assert_array_equal(dataset[0].values["vision"], sides["train"]["vision"][0].astype(np.float32))
    assert any(line.startswith("vision: vision_lengths leave out ") and "not used" in line for line in dataset.report)


def test_the_report(tmp_path: Path) -> None:
    sides = content()
    lines = load(tmp_path, sides).report
    assert lines == (
        "6 training, 3 validation and 4 test clips of 7 videos; 0, 1 and 0 of them have a sentiment of 0",
        "features as they are stored, neither scaled nor centred",
    )
    sides["test"]["id"] = sides["train"]["id"][:4]
    assert "2 videos have clips on more than one side of the published split" in load(tmp_path, sides).report
    for side, held in sides.items():
        held["id"] = [f"{side}{clip}" for clip in range(CLIPS[side])]
    dataset = load(tmp_path, sides)
    assert dataset.recordings[:2] == ("train0", "train1")
    assert any(line.startswith("each clip counts as a recording of its own") for line in dataset.report)


@pytest.mark.parametrize("protocol", range(6))
def test_any_protocol_and_any_way_to_hold_a_list(tmp_path: Path, protocol: int) -> None:
    sides = content()
    expected = load(tmp_path, sides)
    for side in sides.values():
        side["id"] = np.array(side["id"].tolist()).astype("S" if protocol % 2 else "U")
        side["regression_labels"] = list(side["regression_labels"])
        side["audio_lengths"] = np.array(side["audio_lengths"], dtype=object)
        side["vision_lengths"] = np.array(side["vision_lengths"], dtype=np.int32)[:, None]
        side["text"] = side["text"].astype(np.float32)
    path = tmp_path / "features.pkl"
    path.write_bytes(pickle.dumps(sides, protocol))
    found = SentimentDataset(SentimentData(file=str(path), name="CH-SIMS"), spec())
    assert found.recordings == expected.recordings
    np.testing.assert_array_equal(found.targets, expected.targets)
    for name in SHAPES:
        np.testing.assert_array_equal(found[4].values[name], expected[4].values[name])
    found[4].values["text"][0] = 0  # a clip can be changed, as a training step may


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pkl: there is no such file; data\.file"):
        SentimentDataset(SentimentData(file=str(tmp_path / "none.pkl"), name="CH-SIMS"), spec())
    assert "features.pkl: has no train" in refusal(tmp_path, [1, 2])
    sides = content()
    del sides["valid"]
    assert "features.pkl: has no valid" in refusal(tmp_path, sides)
    assert "has no test" in refusal(tmp_path, {**content(), "test": [1]})


@pytest.mark.parametrize("key", ["regression_labels", "id", "audio"])
@pytest.mark.parametrize("side", list(CLIPS))
def test_missing_keys(tmp_path: Path, key: str, side: str) -> None:
    sides = content()
    del sides[side][key]
    message = refusal(tmp_path, sides)
    assert f"features.pkl: {side} has no {key}" in message
    assert message.endswith("which have text, audio, vision, regression_labels, id")


def test_mult_s_own_layout(tmp_path: Path) -> None:
    sides = content()
    for side in sides.values():
        side["labels"] = side.pop("regression_labels")[:, None, None]
    assert "train has labels, as MulT's own files do" in refusal(tmp_path, sides)


def test_lengths_of_one_side_alone(tmp_path: Path) -> None:
    sides = content()
    del sides["test"]["audio_lengths"]
    assert "test has no audio_lengths" in refusal(tmp_path, sides)


def test_shapes_that_disagree(tmp_path: Path) -> None:
    sides = content()
    message = refusal(tmp_path, sides, spec(audio=(8, 5)))
    assert "train: audio has length 8 and width 4, but signals.modalities has length 8 and width 5" in message
    assert "audio has length 8" in refusal(tmp_path, sides, spec(audio=(7, 4)))
    sides["valid"]["vision"] = sides["valid"]["vision"][:2]
    assert "valid has 3 regression_labels but 2 rows of vision" in refusal(tmp_path, sides)
    for wrong in (np.zeros((6, 18)), [[1.0]], np.array([["a"]]), np.full((6, 3, 6), "a"), None):
        sides = content()
        sides["train"]["text"] = wrong
        assert "train: text must be an array of numbers [clips, length, width]" in refusal(tmp_path, sides)


def test_lists_that_disagree(tmp_path: Path) -> None:
    for key, wrong, told in (
        ("id", ["a$_$1"], "one id, a text, for each of its 6 clips"),
        ("id", [1, 2, 3, 4, 5, 6], "one id, a text"),
        ("id", np.zeros((6, 3)).astype(str), "one id, a text"),
        ("audio_lengths", [3], "has 6 regression_labels but 1 audio_lengths"),
        ("audio_lengths", ["a"] * 6, "audio_lengths must be numbers"),
        ("audio_lengths", [-1] * 6, "audio_lengths must be numbers of frames"),
        ("audio_lengths", [float("nan")] * 6, "audio_lengths must be numbers of frames"),
        ("audio_lengths", None, "audio_lengths must be numbers"),
        ("regression_labels", [[0.5]] * 6, "regression_labels must be numbers"),
        ("regression_labels", [], "has no regression_labels"),
        ("regression_labels", "text", "has no regression_labels"),
    ):
        sides = content()
        sides["train"][key] = wrong
        assert told in refusal(tmp_path, sides)


def test_sentiments_that_the_set_does_not_have(tmp_path: Path) -> None:
    sides = content()
    sides["valid"]["regression_labels"][1] = np.nan
    assert "valid has a sentiment that is no number" in refusal(tmp_path, sides)
    sides["valid"]["regression_labels"][1] = -2.4
    message = refusal(tmp_path, sides)
    assert "valid has a sentiment of -2.4, but CH-SIMS has -1 to 1; correct data.name or data.file" in message
    assert len(load(tmp_path, sides, name="CMU-MOSI")) == len(load(tmp_path, sides, name="CMU-MOSEI")) == 13


@pytest.mark.parametrize("modality", [FeatureSequence(name="image", length=3, width=6), Text(name="text", tokens=3)])
def test_other_modalities(tmp_path: Path, modality: Modality) -> None:
    message = refusal(tmp_path, content(), WindowSpec(modalities=(modality,)))
    assert message.startswith(f"modality {modality.name}: this data has text, audio and vision (kind features)")


def test_a_file_that_would_run_something(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (open, (str(tmp_path / "mark"), "w"))

    sides = content()
    sides["test"]["annotations"][0] = Evil()
    assert "asks for io.open" in refusal(tmp_path, sides)
    assert not (tmp_path / "mark").exists()


def test_lists_that_hold_themselves(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.extend([endless] * 6)
    for key in ("regression_labels", "audio_lengths", "id", "text"):
        sides = content()
        sides["train"][key] = endless
        refusal(tmp_path, sides)
