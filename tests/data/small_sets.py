"""Small sets of pictures and texts, written by hand in the layouts of the published ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MOVIES: dict[str, dict[str, Any]] = {
    "0000001": {"plot": ["a hold-up", "a chase"], "genres": ["Crime", "Drama"], "title": "One"},
    "0000002": {"plot": ["a kiss"], "genres": ["Romance"]},
    "0000003": {"plot": ["a ship", "a shore"], "genres": ["Adventure", "News"]},
    "0000004": {"plot": ["  ", "a ghost", "a house"], "genres": ["Horror"]},
}
MOVIE_SIDES = {"train": ["0000001", "0000002"], "dev": ["0000003"], "test": ["0000004"]}

MEMES = {
    "train.jsonl": [("00001", 0, "good morning"), ("00002", 1, "bad morning")],
    "dev.jsonl": [("00003", 1, "")],
    "test_seen.jsonl": [("00004", 0, "noon"), ("00005", 1, "night")],
}


def picture(path: Path, colour: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def as_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def movies(root: Path, labels: Mapping[str, object] = MOVIES, sides: Mapping[str, list[str]] = MOVIE_SIDES) -> Path:
    """MM-IMDb with a poster for every label file."""
    for movie, label in labels.items():
        as_json(root / "labels" / f"{movie}.json", label)
        picture(root / "images" / f"{movie}.jpeg")
    as_json(root / "split.json", sides)
    return root


def dishes(root: Path, classes: tuple[str, ...] = ("ice_cream", "tacos"), train: int = 12, test: int = 3) -> Path:
    """Food-101 as it is downloaded: pictures and two tables of titles, which name each picture's number."""
    for side, count in (("train", train), ("test", test)):
        rows = []
        for dish in classes:
            for number in range(count):
                name = f"{dish}_{number + (train if side == 'test' else 0)}.jpg"
                picture(root / "images" / side / dish / name)
                rows.append(f'{name},"{dish}, no. {number}",{dish}')
        (root / "texts").mkdir(exist_ok=True)
        (root / "texts" / f"{side}_titles.csv").write_text("\n".join(rows) + "\n")
    return root


def memes(root: Path, files: Mapping[str, list[tuple[str, int | None, str]]] = MEMES) -> Path:
    for name, lines in files.items():
        written = []
        for meme, label, text in lines:
            picture(root / "img" / f"{meme}.png")
            content: dict[str, object] = {"id": meme, "img": f"img/{meme}.png", "text": text}
            written.append(json.dumps(content if label is None else {**content, "label": label}))
        (root / name).write_text("\n".join(written) + "\n")
    return root


def ids(text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A tokenizer for tests: the code of each character, cut and padded to eight."""
    codes = [ord(character) for character in text[:8]]
    return np.array([*codes, *[0] * (8 - len(codes))], dtype=np.int64)
