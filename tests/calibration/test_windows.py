"""Windows for calibration: by class, for each pattern anew, known by their hash, and refused where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundles import LABELS, PAIR, make_bundle
from example_bundles import IMAGE, IMAGE_TEXT, TEXT, Task, make_example_bundle
from labelled import NoiseSource, noise_source
from labelled_examples import example_source

from rep_edge.calibration.windows import check_modalities, check_source, draw_windows, gather
from rep_edge.errors import InputError
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import FeatureSequence, Modality, WindowSpec

BOTH = ("acoustic", "seismic")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return open_bundle(make_bundle(tmp_path_factory.mktemp("bundle") / "bundle")).manifest


def source(count: int = 60) -> NoiseSource:
    return noise_source(PAIR, LABELS, count, seed=0)


def test_every_class_is_drawn_equally_often() -> None:
    drawn = draw_windows(source(), BOTH, 30, seed=1)
    assert np.bincount(drawn.targets).tolist() == [10, 10, 10]
    assert drawn.values["acoustic"].shape == (30, 1, 800)


def test_a_rare_class_gives_all_it_has_and_the_others_fill_up() -> None:
    rare = source()
    rare.targets = np.where(np.arange(60) < 4, 0, 1 + np.arange(60) % 2)
    assert np.bincount(draw_windows(rare, BOTH, 30, seed=1).targets).tolist() == [4, 13, 13]


def test_more_windows_than_there_are_gives_all_of_them_in_order() -> None:
    drawn = draw_windows(source(), BOTH, 1000, seed=1)
    np.testing.assert_array_equal(drawn.values["seismic"], source().values["seismic"])


def test_a_pattern_gets_its_own_windows_and_the_same_ones_again() -> None:
    both, again = (draw_windows(source(), BOTH, 12, seed=1) for _ in range(2))
    alone, other = draw_windows(source(), ("seismic",), 12, seed=1), draw_windows(source(), BOTH, 12, seed=2)
    assert both.sha256 == again.sha256
    assert list(alone.values) == ["seismic"]
    assert not np.array_equal(both.values["seismic"], alone.values["seismic"])
    assert both.sha256 != other.sha256


def test_the_hash_knows_samples_labels_and_names() -> None:
    windows = gather(source(), BOTH, range(6))
    hashes = {windows.sha256, windows.only(["acoustic"]).sha256}
    hashes.add(windows._replace(targets=windows.targets[::-1].copy()).sha256)
    windows.values["acoustic"][0, 0, 0] += 1
    hashes.add(windows.sha256)
    assert len(hashes) == 4


def without(name: str) -> WindowSpec:
    return WindowSpec(modalities=tuple(m for m in PAIR.modalities if m.name != name), hop_s=0.5)


def longer() -> WindowSpec:
    twice = tuple(msgspec.structs.replace(m, samples=2 * m.samples) for m in PAIR.modalities)
    return WindowSpec(modalities=twice, hop_s=0.5)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: noise_source(without("seismic"), LABELS, 9, 0), "has no seismic; give data with acoustic, seismic"),
        (
            lambda: noise_source(longer(), LABELS, 9, 0),
            r"acoustic has windows of \[1, 1600\] at 800 Hz and the bundle takes",
        ),
        (lambda: noise_source(PAIR, LABELS[::-1], 9, 0), "has the classes truck, car, quiet and the bundle quiet, car"),
        (lambda: noise_source(PAIR, LABELS, 2, 0), "class truck has no windows; add recordings of it"),
    ],
)
def test_data_of_another_kind_are_refused(make: Callable[[], NoiseSource], line: str, manifest: Manifest) -> None:
    with pytest.raises(InputError, match=line):
        check_source(make(), manifest)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_bundles_that_choose_no_class_are_refused(task: Task, tmp_path: Path) -> None:
    manifest = open_bundle(make_example_bundle(tmp_path / "bundle", task)).manifest
    with pytest.raises(InputError) as caught:
        check_source(example_source(IMAGE_TEXT, manifest.labels, 9, 0), manifest)
    assert str(caught.value) == f"{task} bundles cannot be calibrated: it is for models that choose one class"


def examples(**changes: Modality) -> WindowSpec:
    """Pictures and texts, some of them prepared otherwise."""
    return WindowSpec(modalities=tuple(changes.get(m.name, m) for m in IMAGE_TEXT.modalities))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (examples(), ""),
        (
            examples(text=msgspec.structs.replace(TEXT, tokens=7)),
            r"text has windows of \[7\] and the bundle takes \[6\]",
        ),
        (examples(text=msgspec.structs.replace(TEXT, vocabulary=33)), "text is prepared in another way"),
        (examples(text=msgspec.structs.replace(TEXT, end=29)), "text is prepared in another way"),
        (examples(text=FeatureSequence(name="text", length=1, width=6)), r"text has windows of \[1, 6\]"),
        (examples(image=msgspec.structs.replace(IMAGE, std=(1.0, 1.0, 1.0))), "image is prepared in another way"),
        (examples(image=msgspec.structs.replace(IMAGE, size=16)), r"image has windows of \[3, 16, 16\]"),
        (WindowSpec(modalities=(TEXT,)), "has no image; give data with image, text"),
    ],
)
def test_examples_must_be_prepared_as_the_bundles_are(spec: WindowSpec, line: str, tmp_path: Path) -> None:
    manifest = open_bundle(make_example_bundle(tmp_path / "bundle")).manifest
    if not line:
        check_modalities(spec, manifest)
        return
    with pytest.raises(InputError, match=line):
        check_modalities(spec, manifest)


def test_drawn_texts_are_ids_still() -> None:
    drawn = draw_windows(example_source(IMAGE_TEXT, LABELS, 30, seed=0), IMAGE_TEXT.names, 12, seed=1)
    assert {name: (values.dtype, values.shape) for name, values in drawn.values.items()} == {
        "image": (np.float32, (12, 3, 8, 8)),
        "text": (np.int64, (12, 6)),
    }


def test_fitting_data_are_taken(manifest: Manifest) -> None:
    check_source(source(), manifest)


def test_a_folder_is_no_data(tmp_path: Path) -> None:
    from commands import run

    done = run("calibrate", make_bundle(tmp_path / "bundle"), "--data", tmp_path / "nowhere.yaml")
    assert "nowhere.yaml: cannot be read" in done.error
