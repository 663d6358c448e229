"""Pictures with texts as a dataset: MM-IMDb, UPMC Food-101 and the Hateful Memes behind one class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rep_edge.config import Food101Data, MmimdbData, VisionLanguageData
from rep_edge.data.food101 import read_food101
from rep_edge.data.hateful_memes import read_hateful_memes
from rep_edge.data.mmimdb import read_mmimdb
from rep_edge.data.pairs import Pair, Pairs
from rep_edge.data.windows import Targets, Window
from rep_edge.errors import InputError
from rep_edge.runtime.inputs.images import prepare_image, read_image
from rep_edge.signals import Example, Image, Text, WindowSpec

Tokenizer: TypeAlias = Callable[[str], NDArray[np.int64]]
"""A text to its ids, int64 [tokens]."""

Indices: TypeAlias = NDArray[np.int64]

_SIDES = ("train", "validation", "test")
_LISTED = 30
"""Labels up to this many are counted one by one in the report."""


class VisionLanguageDataset:
    """Examples of a picture, modality "image", and a text, modality "text", or of one of them alone.

    Which examples there are does not depend on the modalities that are used. Pictures are opened as they are asked for.
    tokenizer: None where `spec` has no text. The recording of an example is its movie, file or meme.

    Raises InputError where the set's files do, for modalities other than those two, and where no example of a side, or
    of a class in training, is left; reading an example raises it for a damaged picture.
    """

    def __init__(self, config: VisionLanguageData, spec: WindowSpec, tokenizer: Tokenizer | None) -> None:
        self.spec = spec
        self._image, self._text = _modalities(spec)
        if self._text is not None and tokenizer is None:
            raise ValueError("a spec with a text needs a tokenizer")
        self._tokenizer = tokenizer
        found = _read(config)
        self.name = found.name
        self.labels = found.labels
        self.targets: Targets = found.targets
        self._pairs = found.pairs
        self.recordings = tuple(pair.recording for pair in found.pairs)
        self._split = tuple(_indices(found.pairs, side) for side in _SIDES)
        _require_examples(found, self._split, config.root)
        self.report = (*found.report, *_summary(found, self._split))

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Window:
        pair = self._pairs[index]
        values: dict[str, Example] = {}
        if self._image is not None:
            values[self._image.name] = _prepared(pair.picture, self._image)
        if self._text is not None and self._tokenizer is not None:
            values[self._text.name] = self._tokenizer(pair.text)
        return Window(values, self.targets[index], pair.recording, 0.0)

    def published_split(self) -> tuple[Indices, Indices, Indices]:
        """Examples of training, validation and test as the set's files have them."""
        train, validation, test = self._split
        return train, validation, test


def _modalities(spec: WindowSpec) -> tuple[Image | None, Text | None]:
    image: Image | None = None
    text: Text | None = None
    for modality in spec.modalities:
        if isinstance(modality, Image) and modality.name == "image":
            image = modality
        elif isinstance(modality, Text) and modality.name == "text":
            text = modality
        else:
            raise InputError(
                f"modality {modality.name}: this data has image (kind image) and text (kind text); change "
                "signals.modalities"
            )
    return image, text


def _read(config: VisionLanguageData) -> Pairs:
    if isinstance(config, MmimdbData):
        return read_mmimdb(config)
    if isinstance(config, Food101Data):
        return read_food101(config)
    return read_hateful_memes(config)


def _prepared(path: Path, image: Image) -> Example:
    picture = read_image(path)
    try:
        return prepare_image(picture, image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _indices(pairs: list[Pair], side: str) -> Indices:
    return np.array([i for i, pair in enumerate(pairs) if pair.side == side], dtype=np.int64)


def _positives(targets: Targets, labels: int) -> Indices:
    """Examples of each label, int64 [labels]."""
    if targets.ndim == 2:
        return np.asarray(targets.sum(axis=0), dtype=np.int64)
    return np.bincount(targets, minlength=labels)


def _require_examples(found: Pairs, split: tuple[Indices, ...], root: str) -> None:
    for side, indices in zip(_SIDES, split, strict=True):
        if not indices.size:
            raise InputError(f"{root}: no example for {side} is left; complete the data set")
    trained = _positives(found.targets[split[0]], len(found.labels))
    if found.targets.ndim == 1 and not trained.all():
        label = found.labels[int(np.argmin(trained))]
        raise InputError(f"{root}: class {label} has no training example; add some, or take the class out")


def _summary(found: Pairs, split: tuple[Indices, ...]) -> list[str]:
    """How many examples each side and each label has, and which labels a side lacks."""
    sides = ", ".join(f"{side} {indices.size}" for side, indices in zip(_SIDES, split, strict=True))
    counts = _positives(found.targets, len(found.labels))
    each = ", ".join(f"{label} {count}" for label, count in zip(found.labels, counts, strict=True))
    if len(found.labels) > _LISTED:
        each = f"{len(found.labels)} classes of {counts.min()} to {counts.max()}"
    lines = [f"{len(found.pairs)} examples ({sides}): {each}"]
    for side, indices in zip(_SIDES, split, strict=True):
        held = _positives(found.targets[indices], len(found.labels))
        lacking = [label for label, count in zip(found.labels, held, strict=True) if not count]
        if lacking:
            lines.append(f"{side} has no example of {', '.join(lacking)}")
    return lines
