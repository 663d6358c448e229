"""CH-SIMS, CMU-MOSI and CMU-MOSEI: feature files of spoken opinions, as MMSA lays them out (thuiar/MMSA).

A file is a pickled dict of train, valid and test, each with one row a clip: "text", "audio" and "vision", numbers
[clips, length, width], extracted beforehand; "regression_labels", the sentiments; "id", "video$_$clip"; and in
unaligned files "audio_lengths" and "vision_lengths". Further keys are not used.

Features are given as they are stored, neither scaled nor centred: MMSA and MPLMM train on them so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rep_edge.config import SentimentData
from rep_edge.data.plain_pickle import load_plain
from rep_edge.data.windows import Targets, Window
from rep_edge.errors import InputError
from rep_edge.signals import Example, FeatureSequence, WindowSpec

Features: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]

SIDES = ("train", "valid", "test")
MODALITIES = ("text", "audio", "vision")
LIMITS = {"CH-SIMS": 1.0, "CMU-MOSI": 3.0, "CMU-MOSEI": 3.0}
"""Sentiments run from minus this to this."""
BETWEEN = "$_$"
"""What stands between video and clip in an id."""
_LABELS = "regression_labels"
_KEYS = ", ".join((*MODALITIES, _LABELS, "id"))
_LONGEST = 1 << 31
_BELIEVED = 0.5
"""Share of the frames that hold something which stated lengths may leave out at most."""


class SentimentDataset:
    """Clips of people who speak their mind; targets float32 [n], from negative to positive.

    Modalities are "text", "audio" and "vision" (kind features), or some of them; each is float32 [length, width] of the
    file. The recording of a clip is its video. A value that is no finite number (audio has minus infinity) becomes 0,
    and so does a frame beyond the stated length, which `report` counts.

    Raises InputError where the file cannot be used, holds other shapes than `spec`, or sentiments that the set of
    `config.name` does not have.
    """

    def __init__(self, config: SentimentData, spec: WindowSpec) -> None:
        self.spec = spec
        self.name = config.name
        self.labels = ("negative", "positive")
        modalities = _modalities(spec)
        sides = [_Side(config.file, name, content) for name, content in _sides(config.file).items()]
        self.targets: Targets = np.concatenate([side.sentiments(LIMITS[config.name], config.name) for side in sides])
        self.recordings = tuple(video for side in sides for video in side.videos())
        self._first = np.cumsum([0, *(side.clips for side in sides)])
        self._features: dict[str, list[Features]] = {}
        notes: list[str] = []
        for modality in modalities:
            parts = [side.features(modality) for side in sides]
            notes.extend(_make_finite(modality.name, parts))
            if any(f"{modality.name}_lengths" in side.content for side in sides):
                notes.extend(_end_at(modality.name, parts, [side.lengths(modality.name) for side in sides]))
            self._features[modality.name] = parts
        self.report: tuple[str, ...] = (*self._summary(), *notes)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Window:
        clip = range(len(self))[index]
        side = int(np.searchsorted(self._first, clip, side="right")) - 1
        row = clip - int(self._first[side])
        values: dict[str, Example] = {name: parts[side][row] for name, parts in self._features.items()}
        return Window(values, self.targets[clip], self.recordings[clip], 0.0)

    def published_split(self) -> tuple[Indices, Indices, Indices]:
        """Clips of training, validation and test as the file has them."""
        train, validation, test = np.split(np.arange(len(self), dtype=np.int64), self._first[1:-1])
        return train, validation, test

    def _summary(self) -> list[str]:
        split = self.published_split()
        videos = [{self.recordings[clip] for clip in side} for side in split]
        sizes = "{} training, {} validation and {} test clips".format(*map(len, split))
        zeros = "{}, {} and {}".format(*(int((self.targets[side] == 0).sum()) for side in split))
        lines = [
            f"{sizes} of {len(set().union(*videos))} videos; {zeros} of them have a sentiment of 0",
            "features as they are stored, neither scaled nor centred",
        ]
        shared = len(videos[0] & (videos[1] | videos[2]) | videos[1] & videos[2])
        if shared:
            lines.append(f"{shared} videos have clips on more than one side of the published split")
        if len(set(self.recordings)) == len(self) > 1:
            lines.append("each clip counts as a recording of its own: the ids do not say which clips share a video")
        return lines


class _Side:
    """One side of the split as the file has it."""

    def __init__(self, file: str, name: str, content: dict[object, object]) -> None:
        self._where = f"{file}: {name}"
        self.content = content
        self._require(_LABELS)
        labels = content[_LABELS]
        self.clips = labels.size if isinstance(labels, np.ndarray) else len(labels) if isinstance(labels, list) else 0
        if self.clips == 0:
            raise InputError(f"{self._where} has no {_LABELS}; fetch the file again")

    def sentiments(self, limit: float, name: str) -> Features:
        """Float32 [clips]."""
        found = self._numbers(_LABELS)
        if not np.isfinite(found).all():
            raise InputError(f"{self._where} has a sentiment that is no number; fetch the file again")
        furthest = float(found[np.argmax(np.abs(found))])
        if abs(furthest) > limit + 1e-6:
            raise InputError(
                f"{self._where} has a sentiment of {furthest:g}, but {name} has {-limit:g} to {limit:g}; correct "
                "data.name or data.file"
            )
        return found.astype(np.float32)

    def videos(self) -> list[str]:
        """The video of each clip."""
        self._require("id")
        ids = self.content["id"]
        listed = ids.tolist() if isinstance(ids, np.ndarray) else ids
        texts = [_text(entry) for entry in listed] if isinstance(listed, list) else []
        videos = [text.rsplit(BETWEEN, 1)[0] for text in texts if text is not None]
        if not len(texts) == len(videos) == self.clips:
            raise InputError(f"{self._where} must have one id, a text, for each of its {self.clips} clips")
        return videos

    def features(self, modality: FeatureSequence) -> Features:
        """Float32 [clips, length, width]. The file's own copy is let go, because it can be gigabytes."""
        self._require(modality.name)
        found = self.content.pop(modality.name)
        if not (isinstance(found, np.ndarray) and found.ndim == 3 and found.dtype.kind in "fiu"):
            raise InputError(f"{self._where}: {modality.name} must be an array of numbers [clips, length, width]")
        clips, length, width = found.shape
        if clips != self.clips:
            raise InputError(
                f"{self._where} has {self.clips} {_LABELS} but {clips} rows of {modality.name}; fetch the file again"
            )
        if (length, width) != modality.shape:
            raise InputError(
                f"{self._where}: {modality.name} has length {length} and width {width}, but signals.modalities has "
                f"length {modality.length} and width {modality.width}; make them the file's"
            )
        with np.errstate(over="ignore"):
            return found.astype(np.float32)

    def lengths(self, name: str) -> Indices:
        """Stated frames of each clip, int64 [clips]."""
        found = self._numbers(f"{name}_lengths")
        if not (np.isfinite(found).all() and found.min() >= 0):
            raise InputError(f"{self._where}: {name}_lengths must be numbers of frames; fetch the file again")
        return np.minimum(found, _LONGEST).astype(np.int64)

    def _require(self, key: str) -> None:
        if key in self.content:
            return
        if key == _LABELS and "labels" in self.content:
            raise InputError(
                f"{self._where} has labels, as MulT's own files do; use MMSA's file, whose features differ"
            )
        raise InputError(f"{self._where} has no {key}; use one of MMSA's feature files, which have {_KEYS}")

    def _numbers(self, key: str) -> NDArray[np.float64]:
        """Float64 [clips]."""
        self._require(key)
        values = self.content[key]
        flat = values.ravel().tolist() if isinstance(values, np.ndarray) else values
        if not (isinstance(flat, list) and all(isinstance(value, int | float | np.number) for value in flat)):
            raise InputError(f"{self._where}: {key} must be numbers; fetch the file again")
        if len(flat) != self.clips:
            raise InputError(f"{self._where} has {self.clips} {_LABELS} but {len(flat)} {key}; fetch the file again")
        return np.array(flat, dtype=np.float64)


def _text(entry: object) -> str | None:
    """A text; arrays from Python 2 have it in bytes."""
    if isinstance(entry, bytes):
        return entry.decode("latin1")
    return entry if isinstance(entry, str) else None


def _modalities(spec: WindowSpec) -> list[FeatureSequence]:
    found = [m for m in spec.modalities if isinstance(m, FeatureSequence) and m.name in MODALITIES]
    for modality in spec.modalities:
        if modality not in found:
            raise InputError(
                f"modality {modality.name}: this data has text, audio and vision (kind features); change "
                "signals.modalities"
            )
    return found


def _sides(file: str) -> dict[str, dict[object, object]]:
    """The file's three sides."""
    if not Path(file).is_file():
        raise InputError(f"{file}: there is no such file; data.file names the .pkl file of the features")
    found = load_plain(Path(file))
    sides: dict[str, dict[object, object]] = {}
    for name in SIDES:
        side = found.get(name) if isinstance(found, dict) else None
        if not isinstance(side, dict):
            raise InputError(
                f"{file}: has no {name} with features; use one of MMSA's feature files, with {', '.join(SIDES)}"
            )
        sides[name] = dict(side)
    return sides


def _make_finite(name: str, parts: Sequence[Features]) -> list[str]:
    """Put 0 where a value is no finite number, in place; says how many."""
    values = clips = 0
    for features in parts:
        broken = ~np.isfinite(features)
        values += int(broken.sum())
        clips += int(broken.any(axis=(1, 2)).sum())
        features[broken] = 0
    return [f"{name}: {values} values of {clips} clips are no finite numbers and became 0"] if values else []


def _end_at(name: str, parts: Sequence[Features], lengths: Sequence[Indices]) -> list[str]:
    """Put 0 in the frames beyond the stated lengths, in place; says how many held something.

    Some published files state as length the first frame that sums to 0 (MMSA's getLengths.py): where frames of silence
    or padding stand in front, almost all of a clip is beyond it. Lengths that leave out most of what there is are
    therefore not believed.
    """
    held = [features.any(axis=2) for features in parts]
    beyond = [np.arange(part.shape[1]) >= stated[:, None] for part, stated in zip(held, lengths, strict=True)]
    lost = sum(int((part & after).sum()) for part, after in zip(held, beyond, strict=True))
    total = sum(int(part.sum()) for part in held)
    if not lost:
        return []
    if lost > _BELIEVED * total:
        return [f"{name}: {name}_lengths leave out {lost} of {total} frames that hold something and are not used"]
    for features, after in zip(parts, beyond, strict=True):
        features[after] = 0
    return [f"{name}: {lost} of {total} frames that hold something are beyond {name}_lengths and became 0"]
