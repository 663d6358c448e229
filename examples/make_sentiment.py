"""Write a generated feature file in the layout of CH-SIMS, CMU-MOSI or CMU-MOSEI, to try training without the real one.

python examples/make_sentiment.py chsims SIMS/Processed/unaligned_39.pkl
rep-edge train configs/mult-chsims.yaml --out build/chsims/backbone

A clip's sentiment is the sum of four independent parts, each Gaussian: what its text, its audio and its vision each
know of it (70, 15 and 10 % of the variance) and what none of them knows (5 %); then scaled, rounded and cut off as the
real labels are. No model can do better than to add the parts it is shown, so these are the ceilings, of the sum itself:

| shown | correlation | right side of 0 |
|---|---|---|
| text | 0.84 | 0.82 |
| audio | 0.39 | 0.63 |
| vision | 0.32 | 0.60 |
| text, audio | 0.92 | 0.87 |
| text, vision | 0.89 | 0.85 |
| audio, vision | 0.50 | 0.67 |
| text, audio, vision | 0.97 | 0.93 |

The program prints them again for the labels that it wrote, whose zeros move the second. A modality's part is the mean
of its frames along one fixed direction; along it each frame also wavers by twice the part's standard deviation, in sum
by nothing. One frame thus tells little (correlation 0.45 with the part), all frames of a clip tell the part exactly.
Some values of audio are minus infinity, as in the real files.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge import sentiment_metrics
from rep_edge.data.sentiment import BETWEEN, MODALITIES, SIDES
from rep_edge.errors import InputError
from rep_edge.files import write_file

Floats = NDArray[np.float32]

SHARES = {"text": 0.70, "audio": 0.15, "vision": 0.10}
"""Of the variance of the sentiment; the rest nobody knows."""
WAVER = 2.0
"""Standard deviation of a frame around its clip's part, which has 1."""
NOISE = 0.3
"""Standard deviation in every other direction."""
BROKEN = 0.05
"""Share of clips with a value of minus infinity in audio."""
CLIPS_PER_VIDEO = 5
SIDE_SHARES = (0.6, 0.2, 0.2)
FEWEST = 10


class Layout(NamedTuple):
    """What a file looks like.

    lengths, widths: of text, audio and vision; limit, step: range and grain of the sentiments; spread: their standard
    deviation before they are rounded; states_lengths: an unaligned file; separate: labels of each modality as well.
    """

    lengths: tuple[int, int, int]
    widths: tuple[int, int, int]
    limit: float
    step: float
    spread: float
    states_lengths: bool
    separate: bool


LAYOUTS = {
    "chsims": Layout((39, 400, 55), (768, 33, 709), 1.0, 0.2, 0.45, states_lengths=True, separate=True),
    "mosi": Layout((50, 50, 50), (768, 5, 20), 3.0, 0.2, 1.5, states_lengths=False, separate=False),
    "mosei": Layout((50, 50, 50), (768, 74, 35), 3.0, 1 / 3, 1.1, states_lengths=False, separate=False),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a generated sentiment feature file.")
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("file", type=Path, help=".pkl file to make; must not exist")
    parser.add_argument("--samples", type=int, default=400, help=f"clips of all sides, at least {FEWEST}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lengths", type=int, nargs=3, metavar=("TEXT", "AUDIO", "VISION"), help="instead of the real")
    parser.add_argument("--widths", type=int, nargs=3, metavar=("TEXT", "AUDIO", "VISION"), help="instead of the real")
    options = parser.parse_args()
    layout = LAYOUTS[options.layout]
    layout = layout._replace(
        lengths=tuple(options.lengths or layout.lengths), widths=tuple(options.widths or layout.widths)
    )
    try:
        check(layout, options.samples, options.seed, options.file)
        parts = draw_parts(options.samples, options.seed)
        write_file(options.file, pickle.dumps(content(layout, parts, options.seed), protocol=4))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.file}: {options.samples} clips, {options.file.stat().st_size / 1e6:.0f} MB")
    print("\n".join(ceilings(layout, parts)))
    return 0


def check(layout: Layout, samples: int, seed: int, file: Path) -> None:
    """Raises InputError for what cannot be made."""
    if samples < FEWEST:
        raise InputError(f"--samples {samples}: must be at least {FEWEST}, for three sides")
    if seed < 0:
        raise InputError(f"--seed {seed}: must be 0 or more")
    if min(*layout.lengths, *layout.widths) < 2:
        raise InputError("--lengths and --widths must be at least 2")
    if file.exists():
        raise InputError(f"{file}: is there already; choose another name or remove it")


def draw_parts(samples: int, seed: int) -> dict[str, Floats]:
    """What each modality, and nobody, knows of each clip: standard normal [samples]."""
    rng = np.random.default_rng((seed, 0))
    return {name: rng.standard_normal(samples, np.float32) for name in (*MODALITIES, "nobody")}


def weighted(parts: Mapping[str, Floats], names: Sequence[str]) -> Floats:
    """Sum of the named parts by their shares of the variance."""
    shares = {**SHARES, "nobody": 1 - sum(SHARES.values())}
    return np.asarray(sum(np.sqrt(shares[name]) * parts[name] for name in names), np.float32)


def labels_of(layout: Layout, values: Floats) -> Floats:
    """Values of variance 1 as the set's labels: scaled, rounded, cut off."""
    rounded = np.round(layout.spread * values / layout.step) * layout.step
    # Adding 0 makes a minus 0 a 0.
    return np.asarray(rounded.clip(-layout.limit, layout.limit) + 0.0, np.float32)


def content(layout: Layout, parts: Mapping[str, Floats], seed: int) -> dict[str, dict[str, object]]:
    """The whole file: the clips of each side, every video on one side alone."""
    rng = np.random.default_rng((seed, 1))
    directions = {}
    for name, width in zip(MODALITIES, layout.widths, strict=True):
        along = rng.standard_normal(width, np.float32)
        directions[name] = along / np.linalg.norm(along)
    samples = len(parts["text"])
    ends = np.round(np.cumsum(SIDE_SHARES) * samples).astype(int)
    sides: dict[str, dict[str, object]] = {}
    videos = 0
    for side, of_side in zip(SIDES, np.split(np.arange(samples), ends[:-1]), strict=True):
        known = {name: part[of_side] for name, part in parts.items()}
        numbers = np.arange(len(of_side))
        ids = [f"video_{videos + i // CLIPS_PER_VIDEO:04d}{BETWEEN}{i % CLIPS_PER_VIDEO:04d}" for i in numbers]
        videos += -(-len(of_side) // CLIPS_PER_VIDEO)
        sides[side] = one_side(layout, known, directions, ids, rng)
    return sides


def one_side(
    layout: Layout,
    parts: Mapping[str, Floats],
    directions: Mapping[str, Floats],
    ids: Sequence[str],
    rng: np.random.Generator,
) -> dict[str, object]:
    """Every key of one side."""
    labels = labels_of(layout, weighted(parts, (*MODALITIES, "nobody")))
    fill = rng.uniform(0.5, 1, len(ids))
    stated = {
        # Aligned modalities have the frames of the words; others have lengths of their own.
        name: np.ceil((rng.uniform(0.5, 1, len(ids)) if layout.states_lengths else fill) * length).astype(int)
        for name, length in zip(MODALITIES, layout.lengths, strict=True)
    }
    side: dict[str, object] = {
        "raw_text": np.array([f"generated clip {clip}" for clip in ids]),
        "id": np.array(ids),
        "text_bert": tokens(stated["text"], layout.lengths[0], rng),
        "regression_labels": labels,
        "classification_labels": np.sign(labels) + 1,
        "annotations": [("Negative", "Neutral", "Positive")[int(np.sign(label)) + 1] for label in labels],
    }
    for name, length in zip(MODALITIES, layout.lengths, strict=True):
        features = frames(parts[name], directions[name], stated[name], length, rng)
        if name == "audio":
            break_some(features, stated[name], rng)
        side[name] = features
        if layout.states_lengths and name != "text":
            side[f"{name}_lengths"] = stated[name].tolist()
        if layout.separate:
            side[f"regression_labels_{name[0].upper()}"] = labels_of(layout, parts[name])
    return side


def frames(part: Floats, along: Floats, stated: NDArray[np.int_], length: int, rng: np.random.Generator) -> Floats:
    """Features [clips, length, width] whose mean along `along`, over the stated frames, is the clip's part."""
    within = np.arange(length) < stated[:, None]
    waver = WAVER * rng.standard_normal(within.shape, np.float32) * within
    waver -= (waver.sum(axis=1) / stated).astype(np.float32)[:, None]
    found = NOISE * rng.standard_normal((*within.shape, len(along)), np.float32)
    found += ((part[:, None] + waver) - found @ along)[..., None] * along
    found *= within[..., None]
    return found


def tokens(stated: NDArray[np.int_], length: int, rng: np.random.Generator) -> Floats:
    """Ids, mask and segments as of BERT, [clips, 3, length]; the ids mean nothing."""
    within = np.arange(length) < stated[:, None]
    ids = rng.integers(1000, 20000, within.shape) * within
    return np.stack([ids, within, np.zeros_like(ids)], axis=1).astype(np.float32)


def break_some(audio: Floats, stated: NDArray[np.int_], rng: np.random.Generator) -> None:
    """Put minus infinity into one value of some clips, in the first of them always."""
    for clip in np.flatnonzero((rng.uniform(size=len(audio)) < BROKEN) | (np.arange(len(audio)) == 0)):
        audio[clip, rng.integers(stated[clip]), rng.integers(audio.shape[2])] = -np.inf


def ceilings(layout: Layout, parts: Mapping[str, Floats]) -> list[str]:
    """For each choice of modalities the scores of the best prediction, which is their parts' sum.

    Labels of 0 are on the upper side of nonneg and the lower one of positive, so half a step is added or taken off.
    """
    half = layout.step / (2 * layout.spread)
    labels = labels_of(layout, weighted(parts, (*MODALITIES, "nobody")))
    lines = ["the most that can be known, over all clips:"]
    for count in range(1, len(MODALITIES) + 1):
        for shown in combinations(MODALITIES, count):
            best = weighted(parts, shown)
            scores = {
                "pearson": sentiment_metrics.pearson(best, labels),
                "acc2_nonzero": sentiment_metrics.acc2_nonzero(best, labels),
                "acc2_nonneg": sentiment_metrics.acc2_nonneg(best + half, labels),
                "acc2_positive": sentiment_metrics.acc2_positive(best - half, labels),
            }
            lines.append(
                f"  {' + '.join(shown)}: " + ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
            )
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
