"""The generated feature file is read as a real one, and each modality knows as much of the sentiment as it says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rep_edge.config import SentimentData
from rep_edge.data.plain_pickle import load_plain
from rep_edge.data.sentiment import SentimentDataset
from rep_edge.signals import FeatureSequence, WindowSpec

SCRIPT = Path(__file__).parents[2] / "examples" / "make_sentiment.py"
LENGTHS = (10, 24, 14)
WIDTHS = (12, 6, 8)


def make(file: Path, *options: str, layout: str = "chsims") -> subprocess.CompletedProcess[str]:
    small = ("--lengths", *map(str, LENGTHS), "--widths", *map(str, WIDTHS))
    command = [sys.executable, str(SCRIPT), layout, str(file), *small, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sentiment") / "SIMS" / "unaligned_39.pkl"
    done = make(path, "--samples", "2000")
    assert (done.returncode, done.stderr) == (0, "")
    return path


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sentiment", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(file: Path, name: str = "CH-SIMS") -> SentimentDataset:
    modalities = tuple(
        FeatureSequence(name=modality, length=length, width=width)
        for modality, length, width in zip(("text", "audio", "vision"), LENGTHS, WIDTHS, strict=True)
    )
    return SentimentDataset(SentimentData(file=str(file), name=name), WindowSpec(modalities=modalities))  # type: ignore[arg-type]


def content(file: Path) -> dict[str, dict[str, Any]]:
    found = load_plain(file)
    assert isinstance(found, dict)
    return found


def test_it_has_the_keys_of_a_real_file(file: Path) -> None:
    found = content(file)
    assert list(found) == ["train", "valid", "test"]
    for side in found.values():
        assert set(side) == {
            *(
                "raw_text",
                "id",
                "text_bert",
                "text",
                "audio",
                "vision",
                "audio_lengths",
                "vision_lengths",
                "annotations",
            ),
            *("classification_labels", "regression_labels"),
            *(f"regression_labels_{letter}" for letter in "TAV"),
        }
        clips = len(side["id"])
        assert all(len(value) == clips for value in side.values())
        assert side["text_bert"].shape == (clips, 3, LENGTHS[0])
        assert (side["audio"] == -np.inf).any()
        assert all((features[~np.isinf(features)] < 100).all() for features in (side["text"], side["audio"]))
        for name in ("audio", "vision"):
            frames = np.arange(side[name].shape[1]) >= np.array(side[f"{name}_lengths"])[:, None]
            assert not side[name][frames].any()


def test_it_is_read_as_a_real_file(file: Path) -> None:
    dataset = read(file)
    train, validation, test = dataset.published_split()
    assert (len(train), len(validation), len(test)) == (1200, 400, 400)
    assert np.abs(dataset.targets).max() == 1
    assert 0.1 < float((dataset.targets == 0).mean()) < 0.25
    np.testing.assert_allclose(np.round(dataset.targets * 5), dataset.targets * 5, atol=1e-5)
    videos = [{dataset.recordings[clip] for clip in side} for side in (train, validation, test)]
    assert not (videos[0] & videos[1] | videos[0] & videos[2] | videos[1] & videos[2])


def pooled(dataset: SentimentDataset, name: str) -> NDArray[np.float64]:
    """Mean over the frames that hold something, [clips, width]."""
    found = np.stack([dataset[clip].values[name] for clip in range(len(dataset))]).astype(float)
    mean: NDArray[np.float64] = found.sum(axis=1) / found.any(axis=2).sum(axis=1)[:, None]
    return mean


def first(dataset: SentimentDataset, name: str) -> NDArray[np.float64]:
    """The first frame, [clips, width]."""
    return np.stack([dataset[clip].values[name][0] for clip in range(len(dataset))]).astype(float)


def correlation(features: NDArray[np.float64], dataset: SentimentDataset) -> float:
    """Of a least-squares fit on the training side with the labels of the test side."""
    train, _, test = dataset.published_split()
    inputs = np.hstack([features, np.ones((len(features), 1))])
    weights = np.linalg.lstsq(inputs[train], dataset.targets[train], rcond=None)[0]
    return float(np.corrcoef(inputs[test] @ weights, dataset.targets[test])[0, 1])


def test_each_modality_knows_its_part_and_together_they_know_more(file: Path) -> None:
    dataset = read(file)
    means = {name: pooled(dataset, name) for name in ("text", "audio", "vision")}
    alone = {name: correlation(features, dataset) for name, features in means.items()}
    # 0.06 for the labels' rounding and limits and for 400 test clips
    assert alone["text"] == pytest.approx(0.84, abs=0.06)
    assert alone["audio"] == pytest.approx(0.39, abs=0.1)
    assert alone["vision"] == pytest.approx(0.32, abs=0.1)
    together = correlation(np.hstack(list(means.values())), dataset)
    assert together == pytest.approx(0.97, abs=0.03)
    assert together > alone["text"] + 0.08


@pytest.mark.parametrize("name", ["text", "audio", "vision"])
def test_one_frame_tells_little(file: Path, name: str) -> None:
    dataset = read(file)
    assert correlation(first(dataset, name), dataset) < 0.65 * correlation(pooled(dataset, name), dataset)


def test_the_ceilings_it_prints_are_those_of_its_labels(script: ModuleType) -> None:
    parts = script.draw_parts(50_000, seed=3)
    for name, layout in script.LAYOUTS.items():
        found = {line.split(":")[0].strip(): line for line in script.ceilings(layout, parts)[1:]}
        assert len(found) == 7
        for shown, expected in (("text", 0.84), ("audio", 0.39), ("vision", 0.32), ("text + audio + vision", 0.97)):
            pearson = float(found[shown].split("pearson ")[1].split(",")[0])
            assert pearson == pytest.approx(expected, abs=0.03), (name, shown)


def test_aligned_files_state_no_lengths(tmp_path: Path) -> None:
    for layout, name in (("mosi", "CMU-MOSI"), ("mosei", "CMU-MOSEI")):
        assert make(tmp_path / f"{layout}.pkl", "--samples", "50", layout=layout).returncode == 0
        sides = content(tmp_path / f"{layout}.pkl")
        assert not any(key.endswith("_lengths") for side in sides.values() for key in side)
        assert len(read(tmp_path / f"{layout}.pkl", name)) == 50


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert make(tmp_path / name, "--samples", "20", "--seed", seed).returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_real_shapes_are_the_default(script: ModuleType) -> None:
    assert script.LAYOUTS["chsims"][:2] == ((39, 400, 55), (768, 33, 709))
    assert script.LAYOUTS["mosi"][:2] == ((50, 50, 50), (768, 5, 20))
    assert script.LAYOUTS["mosei"][:2] == ((50, 50, 50), (768, 74, 35))


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    mine = tmp_path / "mine.pkl"
    mine.write_bytes(b"mine")
    for done in (
        make(mine),
        make(tmp_path / "few.pkl", "--samples", "3"),
        make(tmp_path / "seed.pkl", "--seed", "-1"),
        make(tmp_path / "x.pkl", "--widths", "1", "5", "5"),
    ):
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert mine.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [mine]
