"""UPMC Food-101 as it lies on a user's disk: pictures of dishes and the titles of the pages they were found on."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
import numpy as np

from rep_edge.config import Food101Data
from rep_edge.data.label_files import read_json
from rep_edge.data.pairs import DataFolder, Pair, Pairs, Side, one_side_each
from rep_edge.errors import InputError
from rep_edge.seeds import derive_seed

VALIDATION = 0.1
"""Share of each class's training pictures that validates where no split.json says which."""

_FOLDERS: dict[Side, str] = {"train": "train", "validation": "train", "test": "test"}
"""Folder of images/ in which each side's pictures lie."""


class _Split(msgspec.Struct):
    """split.json: names of the pictures of each side."""

    train: list[str]
    val: list[str]
    test: list[str]


class _Picture(NamedTuple):
    """where: what names the picture, for messages; name: <class>_<number>.jpg."""

    where: str
    name: str
    side: Side


def read_food101(config: Food101Data) -> Pairs:
    """The pictures of images/{train,test}/<class>/ with their titles; targets int64 [n].

    The class is the name up to its last "_". Labels are numbered by class_idx.json, else by the alphabet. Titles come
    from text.json, else from texts/train_titles.csv and test_titles.csv (name, title; further columns and a header are
    ignored). Sides come from split.json; else every picture of images/test is for test, and of each class's pictures in
    images/train a tenth, drawn by a fixed seed, is for validation. Pictures without a title are dropped and counted.

    Raises InputError for a file that cannot be read, a picture named twice, one that is named and not there, an unknown
    class, and a name that leads out of the folder.
    """
    folder = DataFolder(config.root, "images/ of UPMC Food-101")
    titles = _titles(folder)
    pictures, report = _pictures(folder, titles)
    one_side_each([(picture.where, picture.name) for picture in pictures])
    labels = _labels(folder, pictures)
    number = {label: i for i, label in enumerate(labels)}
    pairs: list[Pair] = []
    targets: list[int] = []
    for picture in pictures:
        dish = _class_of(picture)
        if dish not in number:
            raise InputError(f"{picture.where}: {picture.name}: class {dish!r} is not in class_idx.json; mend one")
        if not titles.get(picture.name, "").strip():
            continue
        pairs.append(Pair(picture.name, _path(folder, picture, dish), titles[picture.name], picture.side))
        targets.append(number[dish])
    if len(pairs) < len(pictures):
        report.append(f"{len(pictures) - len(pairs)} pictures without a title left out")
    return Pairs("food101", labels, pairs, np.array(targets, dtype=np.int64), report)


def _titles(folder: DataFolder) -> Mapping[str, str]:
    """Name of a picture to its title."""
    if folder.find("text.json", "") is not None:
        return read_json(folder.root / "text.json", dict[str, str])
    titles: dict[str, str] = {}
    for side in ("train", "test"):
        path = folder.root / "texts" / f"{side}_titles.csv"
        for line, name, title in _csv_rows(path):
            if name in titles:
                raise InputError(f"{path}: line {line}: {name} is there twice; keep one of them")
            titles[name] = title
    return titles


def _csv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, name and title of each row, without a header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for number, row in enumerate(reader):
                if not row or (number == 0 and not PurePosixPath(row[0]).suffix):
                    continue
                if len(row) < 2:
                    raise InputError(f"{path}: line {reader.line_num}: has no title; write  name,title,class")
                yield reader.line_num, row[0], row[1]
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file, nor text.json; one of them must give the titles") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV text in UTF-8 ({error}); save it again as CSV") from error


def _pictures(folder: DataFolder, titles: Mapping[str, str]) -> tuple[list[_Picture], list[str]]:
    """Every picture with its side, and a line where the sides were decided here."""
    split = folder.root / "split.json"
    if folder.find("split.json", "") is not None:
        names = read_json(split, _Split)
        sides: dict[Side, list[str]] = {"train": names.train, "validation": names.val, "test": names.test}
        return [_Picture(str(split), name, side) for side, listed in sides.items() for name in listed], []
    trained, tested = _listed(folder, "train"), _listed(folder, "test")
    known = {picture.name for picture in (*trained, *tested)}
    absent = next((name for name in titles if name not in known), None)
    if absent is not None:
        raise InputError(f"{folder.root / 'images'}: has no picture {absent}, which has a title; add it")
    report = f"no split.json: {VALIDATION:.0%} of each class's training pictures, drawn by a seed, are for validation"
    return [*_with_validation(trained, titles), *tested], [report]


def _listed(folder: DataFolder, side: Side) -> list[_Picture]:
    """The pictures that lie in images/<side>/<class>/, by name."""
    top = f"images/{side}"
    found = [(dish, name) for dish in sorted(folder.names(top)) for name in sorted(folder.names(f"{top}/{dish}"))]
    # macOS leaves ._<name>.jpg beside pictures when it packs a folder.
    found = [(dish, name) for dish, name in found if name.endswith(".jpg") and not name.startswith(".")]
    pictures = [_Picture(str(folder.root / top / dish), name, side) for dish, name in found]
    if not pictures:
        raise InputError(f"{folder.root / top}: holds no pictures <class>/<class>_<number>.jpg; put them there")
    return pictures


def _with_validation(pictures: Sequence[_Picture], titles: Mapping[str, str]) -> list[_Picture]:
    """The same pictures; of each class's titled ones a tenth (at least one of two) is for validation."""
    by_class: dict[str, list[str]] = defaultdict(list)
    for picture in pictures:
        if titles.get(picture.name, "").strip():
            by_class[_class_of(picture)].append(picture.name)
    chosen: set[str] = set()
    for dish, names in by_class.items():
        count = max(round(VALIDATION * len(names)), min(1, len(names) - 1))
        order = np.random.default_rng(derive_seed(0, "validation", dish)).permutation(len(names))
        chosen.update(names[i] for i in order[:count])
    return [picture._replace(side="validation") if picture.name in chosen else picture for picture in pictures]


def _class_of(picture: _Picture) -> str:
    dish, _, number = picture.name.rpartition("_")
    if not dish or not number:
        raise InputError(f"{picture.where}: {picture.name!r} names no class; pictures are called <class>_<number>.jpg")
    return dish


def _labels(folder: DataFolder, pictures: Sequence[_Picture]) -> tuple[str, ...]:
    """Names of the classes in the order of their numbers."""
    path = folder.root / "class_idx.json"
    if folder.find("class_idx.json", "") is None:
        return tuple(sorted({_class_of(picture) for picture in pictures}))
    numbers = read_json(path, dict[str, int])
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise InputError(f"{path}: its {len(numbers)} classes must be numbered 0 to {len(numbers) - 1}, each once")
    return tuple(sorted(numbers, key=lambda label: numbers[label]))


def _path(folder: DataFolder, picture: _Picture, dish: str) -> Path:
    name = f"images/{_FOLDERS[picture.side]}/{dish}/{picture.name}"
    path = folder.find(name, picture.where)
    if path is None:
        raise InputError(f"{picture.where}: there is no picture {folder.root / name}; add it or take its name out")
    return path
