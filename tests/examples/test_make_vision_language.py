"""The generated stand-ins are read as the sets themselves are, are reproducible, and hold what they promise."""

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
from PIL import Image
from sklearn.metrics import f1_score, roc_auc_score

from rep_edge.config import Food101Data, HatefulMemesData, MmimdbData
from rep_edge.data.food101 import read_food101
from rep_edge.data.hateful_memes import read_hateful_memes
from rep_edge.data.mmimdb import GENRES, read_mmimdb
from rep_edge.data.pairs import Pairs
from rep_edge.errors import InputError

SCRIPT = Path(__file__).parents[2] / "examples" / "make_vision_language.py"
SETS = ("mmimdb", "food101", "hateful_memes")
SAMPLES = 500


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vision_language", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str, root: Path) -> Pairs:
    if name == "mmimdb":
        return read_mmimdb(MmimdbData(root=str(root)))
    if name == "food101":
        return read_food101(Food101Data(root=str(root)))
    return read_hateful_memes(HatefulMemesData(root=str(root)))


@pytest.fixture(scope="module")
def made(maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pairs]:
    folder = tmp_path_factory.mktemp("sets")
    for name in SETS:
        maker.write_set(name, folder / name, SAMPLES, 0)
    return {name: read(name, folder / name) for name in SETS}


def seen(pairs: Pairs, colours: list[tuple[int, int, int]]) -> NDArray[np.float64]:
    """[n, colours], 1 where a picture of a small model's size has a blot of the colour."""
    found = np.zeros((len(pairs.pairs), len(colours)))
    for row, pair in enumerate(pairs.pairs):
        with Image.open(pair.picture) as picture:
            side = min(picture.size)
            left, top = ((length - side) // 2 for length in picture.size)
            square = picture.crop((left, top, left + side, top + side)).resize((32, 32)).convert("RGB")
        pixels = np.asarray(square, dtype=np.float64).reshape(-1, 1, 3)
        near = np.linalg.norm(pixels - np.array(colours, dtype=np.float64), axis=2) < 40
        found[row] = near.sum(axis=0) > 25
    return found


def said(pairs: Pairs, words: list[str]) -> NDArray[np.float64]:
    """[n, words], 1 where a text holds the words."""
    return np.array([[group.lower() in pair.text.lower() for group in words] for pair in pairs.pairs], dtype=np.float64)


def evidence(maker: ModuleType, name: str, pairs: Pairs) -> dict[str, NDArray[np.float64]]:
    words = {
        "mmimdb": list(maker.GENRES.values()),
        "food101": list(maker.DISHES),
        "hateful_memes": list(maker.TENSIONS),
    }
    image, text = seen(pairs, maker.palette(len(words[name]))), said(pairs, words[name])
    both = (image + text) if name == "hateful_memes" else np.maximum(image, text)
    return {"image": image, "text": text, "image+text": both}


def score(name: str, known: NDArray[np.float64], targets: NDArray[Any]) -> float:
    """The set's metric of the best answer from the evidence alone."""
    if name == "mmimdb":
        return float(f1_score(targets, known, average="macro"))
    if name == "food101":
        rights = np.where(known.any(axis=1), known.argmax(axis=1) == targets, 1 / known.shape[1])
        return float(rights.mean())
    return float(roc_auc_score(targets, known @ np.arange(known.shape[1])))


@pytest.mark.parametrize("name", SETS)
def test_pictures_and_texts_hold_as_much_as_the_ceilings_say(
    maker: ModuleType, made: dict[str, Pairs], name: str
) -> None:
    pairs = made[name]
    found = {pattern: score(name, known, pairs.targets) for pattern, known in evidence(maker, name, pairs).items()}
    promised = maker.ceilings(name)
    assert list(promised) == list(found)
    for pattern, ceiling in promised.items():
        assert found[pattern] == pytest.approx(ceiling, abs=0.05), pattern
    assert found["image+text"] > max(found["image"], found["text"]) + 0.08


@pytest.mark.parametrize("name", SETS)
def test_every_side_has_its_share_and_every_label(made: dict[str, Pairs], name: str) -> None:
    pairs = made[name]
    sides = np.array([pair.side for pair in pairs.pairs])
    assert [int((sides == side).sum()) for side in ("train", "validation", "test")] == [300, 75, 125]
    rows = pairs.targets if pairs.targets.ndim == 2 else np.eye(len(pairs.labels))[pairs.targets]
    assert all(rows[sides == side].any(axis=0).all() for side in ("train", "test"))
    assert not pairs.report, "something was left out"


def test_the_genres_are_those_of_the_set_and_no_word_says_two(maker: ModuleType) -> None:
    assert tuple(maker.GENRES) == GENRES
    words = " ".join(maker.GENRES.values()).split()
    assert len(set(words)) == len(words) == 3 * len(GENRES)
    assert not set(words) & set(maker.FILLERS.split())


def test_pictures_are_of_many_formats(made: dict[str, Pairs]) -> None:
    formats = set()
    for pair in made["food101"].pairs:
        with Image.open(pair.picture) as picture:
            formats.add((picture.width > picture.height) - (picture.width < picture.height))
    assert formats == {-1, 0, 1}


def test_food101_reads_the_same_from_the_downloaded_tables(
    maker: ModuleType, made: dict[str, Pairs], tmp_path: Path
) -> None:
    maker.write_set("food101", tmp_path / "food", SAMPLES, 0)
    for name in ("class_idx.json", "text.json", "split.json"):
        (tmp_path / "food" / name).unlink()
    again = read("food101", tmp_path / "food")
    texts = {pair.recording: pair.text for pair in made["food101"].pairs}
    assert {pair.recording: pair.text for pair in again.pairs} == texts
    assert {p.recording for p in again.pairs if p.side == "test"} == {
        p.recording for p in made["food101"].pairs if p.side == "test"
    }


def test_the_seed_alone_decides(maker: ModuleType, tmp_path: Path) -> None:
    for folder, seed in (("first", 3), ("same", 3), ("other", 4)):
        maker.write_set("mmimdb", tmp_path / folder, 60, seed)
    content = {
        folder: {p.relative_to(tmp_path / folder): p.read_bytes() for p in (tmp_path / folder).rglob("*.j*")}
        for folder in ("first", "same", "other")
    }
    assert len(content["first"]) == 121
    assert content["first"] == content["same"]
    assert content["first"] != content["other"]


def test_the_command_says_what_can_be_known(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "hateful_memes", str(tmp_path / "memes"), "--samples", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "known at best: image 0.833, text 0.833, image+text 1.000" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stderr.startswith(f"error: {tmp_path / 'memes'}: is there already")
    assert again.stderr.count("\n") == 1


def test_too_few_samples_are_refused(maker: ModuleType, tmp_path: Path) -> None:
    for samples, seed in ((59, 0), (60, -1)):
        with pytest.raises(InputError, match="samples must be 60 or more, seed 0 or more"):
            maker.write_set("food101", tmp_path / "food", samples, seed)
    assert not list(tmp_path.iterdir())
