"""MM-IMDb as it lies on a user's disk: posters, plots and the genres of movies."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from rep_edge.config import MmimdbData
from rep_edge.data.label_files import read_json
from rep_edge.data.pairs import DataFolder, Pair, Pairs, Side, one_side_each
from rep_edge.errors import InputError

GENRES = (
    *("Drama", "Comedy", "Romance", "Thriller", "Crime", "Action", "Adventure", "Horror", "Documentary", "Mystery"),
    *("Sci-Fi", "Fantasy", "Family", "Biography", "War", "History", "Music", "Animation", "Musical", "Western"),
    *("Sport", "Short", "Film-Noir"),
)
"""The 23 genres in the order of the missing-modality benchmark (YiLunLee/missing_aware_prompts, write_mmimdb.py)."""

_SIDES: dict[Literal["train", "dev", "test"], Side] = {"train": "train", "dev": "validation", "test": "test"}


class _Split(msgspec.Struct):
    """split.json: the movies of each side."""

    train: list[str]
    dev: list[str]
    test: list[str]


class _Movie(msgspec.Struct):
    """What is read of labels/<id>.json; the other fields are left alone."""

    plot: list[str] | None = None
    genres: list[str] | None = None


def read_mmimdb(config: MmimdbData) -> Pairs:
    """The movies of split.json that have a poster, a plot and genres; targets float32 [n, 23] of 0 and 1.

    A movie is one example. Of several plots, a movie of training has one, drawn by a hash of its id, so that every run
    and every epoch sees the same; validation and test take the first. (The published code makes one example of every
    plot, in test as well.) Movies without poster, plot or genres are dropped and counted, as the data set's authors do.
    Genres other than the 23 are ignored; a movie may then be of none.

    Raises InputError for a file that cannot be read, a movie named twice or without a label file, and a name that leads
    out of the folder.
    """
    folder = DataFolder(config.root, "images/, labels/ and split.json of MM-IMDb")
    split = folder.root / "split.json"
    ids = read_json(split, _Split)
    listed = [(f"{split}: {key}", movie, side) for key, side in _SIDES.items() for movie in getattr(ids, key)]
    one_side_each([(where, movie) for where, movie, _ in listed])
    pairs: list[Pair] = []
    genres: list[list[str]] = []
    dropped: Counter[str] = Counter()
    for where, movie, side in listed:
        poster = folder.find(f"images/{movie}.jpeg", where)
        found = read_json(_label_file(folder, movie, where), _Movie)
        plots = [plot for plot in found.plot or () if plot.strip()]
        lacks = "a poster" if poster is None else "a plot" if not plots else "" if found.genres else "genres"
        if poster is None or lacks:
            dropped[lacks] += 1
            continue
        pairs.append(Pair(movie, poster, plots[_chosen(movie, len(plots), side)], side))
        genres.append(found.genres or [])
    report = [f"{count} movies without {what} left out" for what, count in sorted(dropped.items())]
    report.extend(_ignored(genres))
    targets = np.array([[genre in named for genre in GENRES] for named in genres], dtype=np.float32)
    return Pairs("mmimdb", GENRES, pairs, targets.reshape(-1, len(GENRES)), report)


def _label_file(folder: DataFolder, movie: str, where: str) -> Path:
    path = folder.find(f"labels/{movie}.json", where)
    if path is None:
        raise InputError(f"{where}: movie {movie} has no file labels/{movie}.json; add it or take the movie out")
    return path


def _chosen(movie: str, plots: int, side: Side) -> int:
    """Which of a movie's plots stands for it."""
    if plots == 1 or side != "train":
        return 0
    return int.from_bytes(hashlib.sha256(movie.encode()).digest(), "big") % plots


def _ignored(genres: list[list[str]]) -> list[str]:
    """A line about genres outside the 23, where there are any."""
    others = Counter(genre for named in genres for genre in set(named) if genre not in GENRES)
    counts = ", ".join(f"{genre} {count}" for genre, count in sorted(others.items()))
    return [f"genres outside the {len(GENRES)} ignored: {counts}"] if others else []
