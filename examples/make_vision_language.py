"""Write a small generated stand-in for MM-IMDb, UPMC Food-101 or the Hateful Memes, laid out as the set itself.

python examples/make_vision_language.py mmimdb mmimdb --samples 600
rep-edge train configs/clip-mmimdb.yaml --out build/mmimdb/backbone

Every picture is grey clutter with coloured blots, every text plain words; colours and words carry the label, so that a
small model learns them within minutes at 32 pixels. Each side alone knows a part, both together more, and what can be
known at best follows from the constants below (`ceilings`). Nothing here says how a model does on the real sets.
"""

from __future__ import annotations

import argparse
import colorsys
import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from rep_edge.errors import InputError
from rep_edge.files import new_folder

Rng: TypeAlias = np.random.Generator
Colour: TypeAlias = tuple[int, int, int]

SHARES = {"train": 0.6, "dev": 0.15, "test": 0.25}
FEWEST = 60
"""Below this a side may lack a class of Food-101 or the Hateful Memes; the 23 genres of MM-IMDb want some hundred."""
SHOWN, SAID = 0.6, 0.7
"""MM-IMDb, Food-101: how often a picture shows and a text says what they could; the two are independent."""

GENRES = {
    "Drama": "grief divorce inheritance",
    "Comedy": "prank clumsy hilarious",
    "Romance": "kiss wedding sweetheart",
    "Thriller": "hostage assassin countdown",
    "Crime": "heist mobster smuggling",
    "Action": "explosion fistfight commando",
    "Adventure": "expedition treasure jungle",
    "Horror": "ghost demon scream",
    "Documentary": "interviews archive footage",
    "Mystery": "clue riddle disappearance",
    "Sci-Fi": "spaceship robot alien",
    "Fantasy": "wizard dragon spell",
    "Family": "puppy grandma holiday",
    "Biography": "memoir inventor lifetime",
    "War": "battalion trenches sniper",
    "History": "emperor dynasty revolution",
    "Music": "guitar band concert",
    "Animation": "cartoon talking squirrel",
    "Musical": "choir dancing broadway",
    "Western": "cowboy sheriff saloon",
    "Sport": "boxing coach championship",
    "Short": "vignette miniature minutes",
    "Film-Noir": "shadow fatale cigarette",
}
"""Genres in their order, and the words by which a plot says one."""
GENRES_OF_A_MOVIE = {1: 0.4, 2: 0.4, 3: 0.2}
DISHES = ("tacos", "ramen", "pizza", "sushi", "pancakes", "guacamole")
TENSIONS = ("picnic sunshine kittens", "traffic homework queue", "villain sneer insult")
"""Hateful Memes: words of a calm, an uneasy and a tense line. Pictures have the same three degrees, as colours."""
HATEFUL_FROM = 3
"""A meme is hateful where the degrees 0, 1, 2 of its picture and its line add up to this."""
FILLERS = (
    "a young man and an old friend travel to the city one night then soon return home while others begin to think "
    "about what really happened there last summer when everything seemed so very different"
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a generated stand-in for a set of pictures and texts.")
    parser.add_argument("set", choices=sorted(WRITERS), help="whose layout, as data.source names it")
    parser.add_argument("folder", type=Path, help="folder to make; must not exist")
    parser.add_argument("--samples", type=int, default=600, help=f"examples over all sides, {FEWEST} or more")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        write_set(options.set, options.folder, options.samples, options.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.folder}: {options.samples} generated examples")
    print("known at best: " + ", ".join(f"{name} {value:.3f}" for name, value in ceilings(options.set).items()))
    print(f"next: a configuration with  data: {{source: {options.set}, root: {options.folder}}}")
    return 0


def write_set(name: str, folder: Path, samples: int, seed: int) -> None:
    """The stand-in for a set, the same for the same samples and seed; the folder appears whole.

    Raises InputError for fewer samples than FEWEST, a negative seed, and a folder that is there already.
    """
    if samples < FEWEST or seed < 0:
        raise InputError(f"--samples {samples} --seed {seed}: samples must be {FEWEST} or more, seed 0 or more")
    ends = np.round(np.cumsum(list(SHARES.values())) * samples).astype(int)
    sides = np.repeat(list(SHARES), np.diff(ends, prepend=0)).tolist()
    with new_folder(folder) as temporary:
        WRITERS[name](temporary, sides, np.random.default_rng(seed))


def ceilings(name: str) -> dict[str, float]:
    """What can be known at best from the picture, from the text and from both, in the metric of the set.

    MM-IMDb, macro-F1: a genre is known where it is shown or said and never guessed otherwise, so precision is 1 and
    recall q: 2q / (1 + q). Food-101, accuracy: known with q, else guessed. Hateful Memes, AUROC: the label follows from
    both degrees, and its probability rises with each.
    """
    parts = {"image": SHOWN, "text": SAID, "image+text": 1 - (1 - SHOWN) * (1 - SAID)}
    if name == "mmimdb":
        return {pattern: 2 * q / (1 + q) for pattern, q in parts.items()}
    if name == "food101":
        return {pattern: q + (1 - q) / len(DISHES) for pattern, q in parts.items()}
    degrees = range(len(TENSIONS))
    hateful = np.array([sum(a + b >= HATEFUL_FROM for b in degrees) for a in degrees], dtype=np.float64)
    calm = len(TENSIONS) - hateful
    ahead = sum(hateful[a] * (calm[:a].sum() + calm[a] / 2) for a in degrees)
    alone = float(ahead / (hateful.sum() * calm.sum()))
    return {"image": alone, "text": alone, "image+text": 1.0}


def write_mmimdb(folder: Path, sides: Sequence[str], rng: Rng) -> None:
    """Posters, one to three plots a movie, genres; all genres are equally frequent."""
    colours = dict(zip(GENRES, palette(len(GENRES)), strict=True))
    split: dict[str, list[str]] = {side: [] for side in SHARES}
    for sub in ("images", "labels"):
        (folder / sub).mkdir()
    for number, side in enumerate(sides, start=1):
        movie = f"{number:07d}"
        count = rng.choice(list(GENRES_OF_A_MOVIE), p=list(GENRES_OF_A_MOVIE.values()))
        genres = [str(genre) for genre in rng.choice(list(GENRES), count, replace=False)]
        shown = [colours[genre] for genre in genres if rng.random() < SHOWN]
        picture(rng, (176, 264), shown).save(folder / "images" / f"{movie}.jpeg", quality=90)
        plots = [text(rng, [GENRES[g] for g in genres if rng.random() < SAID]) for _ in range(rng.integers(1, 4))]
        write_json(folder / "labels" / f"{movie}.json", {"title": f"Movie {number}", "genres": genres, "plot": plots})
        split[side].append(movie)
    write_json(folder / "split.json", split)


def write_food101(folder: Path, sides: Sequence[str], rng: Rng) -> None:
    """Pictures of six dishes with titles, as the tables of the original and as the JSON files made from them."""
    colours = dict(zip(DISHES, palette(len(DISHES)), strict=True))
    key = {"train": "train", "dev": "val", "test": "test"}
    split: dict[str, list[str]] = {name: [] for name in key.values()}
    rows: dict[str, list[tuple[str, str, str]]] = {"train": [], "test": []}
    for number, side in enumerate(sides):
        dish = DISHES[number % len(DISHES)]
        name = f"{dish}_{number // len(DISHES)}.jpg"
        place = "test" if side == "test" else "train"
        (folder / "images" / place / dish).mkdir(parents=True, exist_ok=True)
        shown = [colours[dish]] if rng.random() < SHOWN else []
        picture(rng, photograph(rng), shown).save(folder / "images" / place / dish / name, quality=90)
        title = text(rng, [f"{dish} recipe, {dish}"] if rng.random() < SAID else [])
        split[key[side]].append(name)
        rows[place].append((name, title, dish))
    (folder / "texts").mkdir()
    for place, table in rows.items():
        with (folder / "texts" / f"{place}_titles.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table)
    write_json(folder / "text.json", {name: title for table in rows.values() for name, title, _ in table})
    write_json(folder / "class_idx.json", {dish: i for i, dish in enumerate(DISHES)})
    write_json(folder / "split.json", split)


def write_hateful_memes(folder: Path, sides: Sequence[str], rng: Rng) -> None:
    """Memes whose label needs picture and line: the same line stands over harmless and over other pictures."""
    colours = palette(len(TENSIONS))
    files = {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test_seen.jsonl"}
    lines: dict[str, list[str]] = {name: [] for name in files.values()}
    (folder / "img").mkdir()
    for number, side in enumerate(sides, start=1):
        meme = f"{number:05d}"
        seen, said = (int(degree) for degree in rng.integers(0, len(TENSIONS), 2))
        picture(rng, photograph(rng), [colours[seen]]).save(folder / "img" / f"{meme}.png", compress_level=1)
        label = int(seen + said >= HATEFUL_FROM)
        content = {"id": meme, "img": f"img/{meme}.png", "label": label, "text": text(rng, [TENSIONS[said]])}
        lines[files[side]].append(json.dumps(content))
    for name, written in lines.items():
        (folder / name).write_text("\n".join(written) + "\n", encoding="utf-8")


WRITERS: Mapping[str, Callable[[Path, Sequence[str], Rng], None]] = {
    "mmimdb": write_mmimdb,
    "food101": write_food101,
    "hateful_memes": write_hateful_memes,
}


def palette(count: int) -> list[Colour]:
    """Up to 24 colours, as far apart as eight hues in three tones let them be."""
    tones = ((1.0, 0.95), (0.9, 0.45), (0.45, 1.0))
    spread = [colorsys.hsv_to_rgb(hue / 8, *tone) for tone in tones for hue in range(8)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in spread[:: max(1, 8 // count)][:count]]


def photograph(rng: Rng) -> tuple[int, int]:
    """Width and height in pixels of a usual format."""
    width, height = rng.choice([(4, 3), (3, 4), (3, 2), (1, 1)])
    scale = rng.integers(160, 240) / max(width, height)
    return round(width * scale), round(height * scale)


def picture(rng: Rng, size: tuple[int, int], colours: Sequence[Colour]) -> Image.Image:
    """Grey clutter with a blot of each colour, in distinct quarters of the central square, which no crop takes away."""
    width, height = (round(side / 4) for side in size)
    clutter = Image.fromarray(rng.integers(0, 256, (6, 6, 1), dtype=np.uint8).repeat(3, axis=2))
    pixels = np.asarray(clutter.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    pixels = rng.uniform(80, 140) + 0.25 * pixels
    square = min(width, height)
    rows, columns = np.mgrid[:height, :width]
    for quarter, colour in zip(rng.permutation(4), colours, strict=False):
        down, across = rng.uniform(0.22, 0.28, 2) + np.array(divmod(int(quarter), 2)) * 0.5
        tall, wide = rng.uniform(0.19, 0.24, 2) * square
        y = (rows - (height - square) / 2 - down * square) / tall
        x = (columns - (width - square) / 2 - across * square) / wide
        pixels[x**2 + y**2 < 1] = colour
    pixels += rng.normal(0, 10, pixels.shape)
    small = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def text(rng: Rng, words: Sequence[str]) -> str:
    """Eight to fourteen plain words, and in between each group of `words`."""
    parts = [str(word) for word in rng.choice(FILLERS.split(), rng.integers(8, 15))]
    for group in words:
        parts.insert(int(rng.integers(0, len(parts) + 1)), group)
    return " ".join(parts).capitalize() + "."


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
