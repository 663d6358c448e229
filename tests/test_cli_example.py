"""`rep-edge classify` on bundles of pictures, texts and features: either left out, and what a mistake looks like."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from example_bundles import FEATURES, IMAGE, TEXT, expected_outputs, make_example_bundle, tokenizer_definition
from PIL import Image

from rep_edge.cli.app import main
from rep_edge.runtime.activation import activate
from rep_edge.runtime.inputs.images import prepare_image, read_image
from rep_edge.runtime.inputs.texts import Tokenizer
from rep_edge.runtime.prediction import Prediction

CAPTION = "a cat sits on the table"


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Desk(NamedTuple):
    """A folder with a picture, and the command line in this process."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    @property
    def picture(self) -> Path:
        return self.folder / "cat.png"

    def classify(self, bundle: Path, *arguments: str) -> Done:
        self.patch.setattr(sys, "argv", ["rep-edge", "classify", str(bundle), *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capture.readouterr()
        return Done(int(end.value.code or 0), out, err)

    def refused(self, *arguments: str, bundle: Path | None = None) -> str:
        """The one line that a mistake ends in."""
        done = self.classify(bundle or make_example_bundle(self.folder / "bundle"), *arguments)
        assert done.code == 1
        assert not done.out
        assert "Traceback" not in done.err
        last = done.err.splitlines()[-1]
        assert last.startswith("error: ")
        return last


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "cat.png")
    return Desk(tmp_path, capsys, monkeypatch)


def sources_of(desk: Desk, pattern: str) -> list[str]:
    given = {"image": f"image={desk.picture}", "text": f"text={CAPTION}"}
    return [argument for name in pattern.split("+") for argument in ("--source", given[name])]


@pytest.mark.parametrize("pattern", ["image+text", "image", "text"])
def test_either_may_be_left_out(desk: Desk, pattern: str) -> None:
    bundle = make_example_bundle(desk.folder / "bundle")
    done = desk.classify(bundle, *sources_of(desk, pattern), "--json")
    assert done.code == 0
    found = msgspec.json.decode(done.out, type=Prediction)
    assert found.pattern == pattern
    windows = {
        "image": prepare_image(read_image(desk.picture), IMAGE)[None],
        "text": Tokenizer(tokenizer_definition(), TEXT)(CAPTION)[None],
    }
    wanted = activate("multiclass", expected_outputs({name: windows[name] for name in pattern.split("+")}))[0]
    np.testing.assert_allclose(list(found.probabilities.values()), wanted, atol=1e-6)
    for name in ("image", "text"):
        assert (f"{name}: given" if name in pattern else f"{name}: not given, missing") in done.err


def test_people_read_the_answer_first(desk: Desk) -> None:
    done = desk.classify(make_example_bundle(desk.folder / "bundle"), *sources_of(desk, "image+text"))
    first, *others = done.out.splitlines()
    found = desk.classify(desk.folder / "bundle", *sources_of(desk, "image+text"), "--json")
    probabilities = json.loads(found.out)["probabilities"]
    assert first.startswith(max(probabilities, key=probabilities.get))
    assert "image+text" in first
    assert [float(line.split()[0]) for line in others] == sorted((float(x.split()[0]) for x in others), reverse=True)


def test_several_labels_and_values(desk: Desk) -> None:
    several = desk.classify(
        make_example_bundle(desk.folder / "several", "multilabel"), *sources_of(desk, "image"), "--json"
    )
    found = msgspec.json.decode(several.out, type=Prediction)
    assert set(found.label_set or ()) == {name for name, p in found.probabilities.items() if p >= 0.5}
    value = desk.classify(make_example_bundle(desk.folder / "value", "regression"), *sources_of(desk, "text"))
    label, number = value.out.split()[:2]
    assert label == ("positive" if float(number) > 0 else "negative")


def test_features_come_as_numpy_files(desk: Desk) -> None:
    bundle = make_example_bundle(desk.folder / "features", "regression", FEATURES)
    np.save(desk.folder / "words.npy", np.random.default_rng(1).standard_normal((5, 7)))
    done = desk.classify(bundle, "--source", f"words={desk.folder / 'words.npy'}")
    assert done.code == 0
    np.save(desk.folder / "short.npy", np.zeros((4, 7)))
    assert "has shape [4, 7], and words is [5, 7]" in desk.refused(
        "--source", f"words={desk.folder / 'short.npy'}", bundle=bundle
    )
    (desk.folder / "objects.npy").write_bytes(b"")
    np.save(desk.folder / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "is no array of numbers" in desk.refused("--source", f"words={desk.folder / 'objects.npy'}", bundle=bundle)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give at least one of image, text"),
        (["--source", "sound=a.wav"], "must be NAME=VALUE with NAME one of image, text"),
        (["--source", "image"], "must be NAME=VALUE"),
        (["--source", "text=a", "--source", "text=b"], "text: is given twice"),
        (["--source", "image=nowhere.jpg"], "nowhere.jpg: no such file"),
        (["--source", "text="], "text: the text is empty; leave it out instead"),
        (["--source", "text=" + "word " * 25_000], "has 125,000 characters"),
    ],
)
def test_mistakes_are_one_line(desk: Desk, arguments: list[str], told: str) -> None:
    assert told in desk.refused(*arguments)


def test_ten_megabytes_of_text_through_python(desk: Desk) -> None:
    from rep_edge.errors import InputError
    from rep_edge.runtime.bundle import open_bundle
    from rep_edge.runtime.inputs.examples import Examples

    examples = Examples(open_bundle(make_example_bundle(desk.folder / "bundle")))
    with pytest.raises(InputError, match="text: has 10,485,760 characters"):
        examples({"text": "a" * (10 << 20)})
    with pytest.raises(InputError, match="sound: is no modality"):
        examples({"sound": "a.wav"})


def test_a_broken_picture_is_one_line(desk: Desk) -> None:
    content = desk.picture.read_bytes()
    for name, broken in (("cut.png", content[: len(content) // 2]), ("none.png", b"not a picture"), ("nil.png", b"")):
        (desk.folder / name).write_bytes(broken)
        bundle = desk.folder / f"bundle of {name}"
        told = desk.refused("--source", f"image={desk.folder / name}", bundle=make_example_bundle(bundle))
        assert os.fspath(desk.folder / name) in told
