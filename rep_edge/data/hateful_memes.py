"""The Hateful Memes as they lie on a user's disk: pictures with a line of text, hateful or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from rep_edge.config import HatefulMemesData
from rep_edge.data.label_files import read_json_lines
from rep_edge.data.pairs import DataFolder, Pair, Pairs, Side, one_side_each
from rep_edge.errors import InputError

LABELS = ("not hateful", "hateful")

_FILES: dict[Side, tuple[str, ...]] = {
    "train": ("train.jsonl",),
    "validation": ("dev.jsonl", "dev_seen.jsonl"),
    "test": ("test_seen.jsonl", "test.jsonl"),
}
"""Names of each side's file; the first one that is there is taken."""


class _Meme(msgspec.Struct):
    """A line; other fields are left alone. The test file of the first release has no labels."""

    id: int | str
    img: str
    text: str
    label: Annotated[int, msgspec.Meta(ge=0, le=1)] | None = None


def read_hateful_memes(config: HatefulMemesData) -> Pairs:
    """The memes of train.jsonl, dev.jsonl (or dev_seen.jsonl) and test_seen.jsonl; targets int64 [n], 1: hateful.

    test.jsonl is taken where test_seen.jsonl is not there and it has labels.

    Raises InputError that names file, line and field: a file that cannot be read, no label, a meme named twice, a
    picture that is not there or leads out of the folder.
    """
    folder = DataFolder(config.root, "img/ and the .jsonl files of the Hateful Memes")
    pairs: list[Pair] = []
    targets: list[int] = []
    named: list[tuple[str, str]] = []
    for side, names in _FILES.items():
        path = _file(folder, names)
        for number, meme in read_json_lines(path, _Meme):
            where = f"{path}: line {number}"
            named.append((where, str(meme.id)))
            targets.append(_label(meme, path, where))
            pairs.append(Pair(str(meme.id), _picture(folder, meme, where), meme.text, side))
    one_side_each(named)
    return Pairs("hateful_memes", LABELS, pairs, np.array(targets, dtype=np.int64), [])


def _file(folder: DataFolder, names: tuple[str, ...]) -> Path:
    for name in names:
        path = folder.find(name, str(folder.root))
        if path is not None:
            return path
    raise InputError(f"{folder.root / names[0]}: there is no such file; it belongs to the Hateful Memes")


def _label(meme: _Meme, path: Path, where: str) -> int:
    if meme.label is not None:
        return meme.label
    remedy = "put test_seen.jsonl beside it" if path.name == "test.jsonl" else "mend the line"
    raise InputError(f"{where}, label: is missing; {remedy}")


def _picture(folder: DataFolder, meme: _Meme, where: str) -> Path:
    picture = folder.find(meme.img, f"{where}, img")
    if picture is None:
        raise InputError(f"{where}, img: there is no picture {folder.root / meme.img}; add it or remove the line")
    return picture
