"""The six generated sets of benchmarks/modalities.py: what the examples write, with two things made as they really are.

In the examples' files an empty text says what many texts say, and zeros are what features are on average, so that a
plain model loses nothing by a placeholder and nobody could do better. Here titles of Food-101 name their dish mostly,
and features stand off zero, as features do that are stored neither scaled nor centred.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.config import Config, SentimentData, VisionLanguageData, read_config
from rep_edge.data.plain_pickle import load_plain
from rep_edge.data.splits import Splits, Subset, open_splits
from rep_edge.data.windows import Window, WindowDataset
from rep_edge.encoders.choice import tokenizers_of
from rep_edge.files import new_folder
from rep_edge.signals import FeatureSequence

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs" / "generated"
UNTITLED = 0.1
"""Share that stays of the pictures whose title does not name the dish."""
LEVEL = 1.0
"""How far features stand off zero, in standard deviations of a clip's mean, where they tell the sentiment."""


class GeneratedSet(NamedTuple):
    """One stand-in.

    title: of the set whose layout it has; samples: that are generated, over all sides; metrics: that the tables show,
    the headline first, those in one group in one table.
    """

    title: str
    samples: int
    metrics: tuple[tuple[str, ...], ...]


SIMS = (("acc2_positive", "f1_positive"), ("acc2_nonneg", "f1_nonneg"))
CMU = (("acc2_nonzero", "f1_nonzero"), ("acc2_nonneg", "f1_nonneg"))
SETS = {
    "mmimdb": GeneratedSet("MM-IMDb", 3000, (("macro_f1",),)),
    "food101": GeneratedSet("UPMC Food-101", 2800, (("accuracy",),)),
    "hatefulmemes": GeneratedSet("Hateful Memes", 2000, (("auroc",),)),
    "chsims": GeneratedSet("CH-SIMS", 2500, SIMS),
    "mosi": GeneratedSet("CMU-MOSI", 2500, CMU),
    "mosei": GeneratedSet("CMU-MOSEI", 2500, CMU),
}
"""Of each configuration in configs/generated."""


def configured(name: str, work: Path) -> Config:
    """A set's configuration, with its data in the work folder."""
    config, folder = read_config(CONFIGS / f"{name}.yaml"), data_folder(name, work)
    change = msgspec.structs.replace
    if isinstance(config.data, SentimentData):
        return change(config, data=change(config.data, file=str(folder / "features.pkl")))
    assert isinstance(config.data, VisionLanguageData)
    return change(config, data=change(config.data, root=str(folder / "set")))


def data_folder(name: str, work: Path) -> Path:
    return work / name / f"{SETS[name].samples}-generated"


def generate(name: str, config: Config, work: Path) -> None:
    """The set's files, where they are not there yet; they appear whole."""
    folder = data_folder(name, work)
    if folder.exists():
        return
    with new_folder(folder) as temporary:
        samples = ["--samples", str(SETS[name].samples)]
        if isinstance(config.data, SentimentData):
            file = temporary / "features.pkl"
            sequences = [m for m in config.signals.modalities if isinstance(m, FeatureSequence)]
            lengths, widths = ([str(n) for n in sizes] for sizes in zip(*(m.shape for m in sequences), strict=True))
            write("make_sentiment.py", name, file, *samples, "--lengths", *lengths, "--widths", *widths)
            raise_features(file)
        else:
            write("make_vision_language.py", str(config.data.__struct_config__.tag), temporary / "set", *samples)
            if name == "food101":
                drop_untitled(temporary / "set")


def write(script: str, kind: str, place: Path, *options: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "examples" / script), kind, str(place), *options], check=True)


def drop_untitled(root: Path) -> None:
    """Take most pictures whose title does not name the dish out of split.json, the same ones each time."""
    titles, split = (json.loads((root / name).read_text(encoding="utf-8")) for name in ("text.json", "split.json"))
    rng = np.random.default_rng(0)
    kept = {
        side: [name for name in names if name.rsplit("_", 1)[0] in titles[name].lower() or rng.random() < UNTITLED]
        for side, names in split.items()
    }
    (root / "split.json").write_text(json.dumps(kept), encoding="utf-8")


def raise_features(file: Path) -> None:
    """Add LEVEL to every frame, along the direction in which a modality's features rise with the sentiment."""
    sides: Any = load_plain(file)
    labels = np.concatenate([side["regression_labels"] for side in sides.values()])
    for name in ("text", "audio", "vision"):
        means = np.concatenate([clip_means(side[name]) for side in sides.values()])
        along = (labels - labels.mean()) @ means
        along /= np.linalg.norm(along)
        offset = (LEVEL * (means @ along).std() * along).astype(np.float32)
        for side in sides.values():
            side[name] = side[name] + offset * side[name].any(axis=2, keepdims=True)
    file.write_bytes(pickle.dumps(sides, protocol=4))


def clip_means(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the frames that hold something, values that are no numbers as 0: [n, length, width] -> [n, width]."""
    finite = np.where(np.isfinite(features), features, 0)
    return np.asarray(finite.sum(axis=1) / features.any(axis=2).sum(axis=1, keepdims=True), np.float32)


_OPENED: dict[str, Splits] = {}


def opened(config: Config) -> Splits:
    """The examples of a set, read once a process; they do not depend on the seed of training."""
    place = str(config.data)
    if place not in _OPENED:
        _OPENED[place] = Splits(*(Held(side) for side in open_splits(config, tokenizers_of(config))))
    return _OPENED[place]


class Held(Subset):
    """A side whose examples are read and prepared once a process."""

    def __init__(self, side: WindowDataset) -> None:
        super().__init__(side, np.arange(len(side)))
        self._held: dict[int, Window] = {}

    def __getitem__(self, index: int) -> Window:
        if index not in self._held:
            self._held[index] = super().__getitem__(index)
        return self._held[index]
