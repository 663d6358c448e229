"""Model repositories of pictures, texts and features, for every task: configuration, router, README and its client."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from bundles import LABELS
from example_bundles import (
    FEATURES,
    IMAGE_TEXT,
    SIDES,
    TEXT,
    Task,
    Windows,
    expected_outputs,
    make_example_bundle,
    random_examples,
    tokenizer_definition,
)
from fake_triton import Triton, TritonError, read_config
from numpy.typing import NDArray
from PIL import Image as Pillow
from repositories import files, quiet
from triton_network import run_client
from tritonclient.grpc import model_config_pb2

from rep_edge.export.triton import Serving, export_repository
from rep_edge.runtime.activation import activate
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.inputs.examples import Examples
from rep_edge.signals import Pattern, WindowSpec

TASKS: tuple[Task, ...] = ("multiclass", "multilabel", "regression")
Numbers = NDArray[np.float64]
TEMPERATURES = {"image+text": 0.6, "image": 1.4, "text": 2.5}


def export(folder: Path, task: Task = "multiclass", spec: WindowSpec = IMAGE_TEXT, max_batch: int = 8) -> Path:
    temperatures = TEMPERATURES if spec is IMAGE_TEXT else None
    make_example_bundle(folder / "bundle", task, spec, temperatures)
    export_repository(folder / "bundle", folder / "repository", Serving(max_batch=max_batch), quiet)
    return folder / "repository"


def live_of(pattern: Pattern, count: int, spec: WindowSpec = IMAGE_TEXT) -> Windows:
    return {name: values for name, values in random_examples(spec, count).items() if name in pattern}


def test_inputs_are_configured_in_their_own_type_and_rank(tmp_path: Path) -> None:
    repository = export(tmp_path)
    kinds = model_config_pb2.TYPE_FP32, model_config_pb2.TYPE_INT64
    for model, optional in (("rep", True), ("rep_image_text", False)):
        config = read_config(repository, model)
        assert [(i.name, list(i.dims), i.data_type, i.optional) for i in config.input] == [
            ("image", [3, 8, 8], kinds[0], optional),
            ("text", [6], kinds[1], optional),
        ]
    warm = config.model_warmup[0].inputs
    assert {name: (list(window.dims), window.data_type) for name, window in warm.items()} == {
        "image": ([3, 8, 8], kinds[0]),
        "text": ([6], kinds[1]),
    }


@pytest.mark.parametrize(
    ("task", "outputs", "width", "file"),
    [
        ("multiclass", {"probabilities": 3, "logits": 3, "label": 1, "label_index": 1, "pattern": 1}, 3, "labels.txt"),
        (
            "multilabel",
            {"probabilities": 3, "logits": 3, "label": 1, "label_index": 1, "labels": 3, "pattern": 1},
            3,
            "labels.txt",
        ),
        ("regression", {"value": 1, "label": 1, "label_index": 1, "pattern": 1}, 1, ""),
    ],
)
def test_what_is_answered_is_told_by_task(
    task: Task, outputs: dict[str, int], width: int, file: str, tmp_path: Path
) -> None:
    repository = export(tmp_path, task)
    config = read_config(repository, "rep")
    assert {output.name: output.dims[0] for output in config.output} == outputs
    assert config.parameters["task"].string_value == task
    (logits,) = read_config(repository, "rep_text").output
    # One value has two labels, for its sides: a file of labels would name it by the first of them.
    assert (logits.name, list(logits.dims), logits.label_filename) == ("logits", [width], file)


@pytest.mark.parametrize("spec", [IMAGE_TEXT, FEATURES], ids=["image and text", "features"])
@pytest.mark.parametrize("task", TASKS)
def test_the_router_answers_every_pattern_as_the_classifier_does(
    task: Task, spec: WindowSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton = Triton(export(tmp_path, task, spec), monkeypatch)
    classifier = Classifier.load(tmp_path / "bundle", backend="onnxruntime-cpu")
    for pattern in spec.patterns():
        windows = live_of(pattern, 3, spec)
        answer = triton.ask(windows)
        for i in range(3):
            wanted = classifier({name: values[i] for name, values in windows.items()})
            assert answer["pattern"][i, 0].decode() == wanted.pattern == spec.pattern_name(pattern)
            assert answer["label"][i, 0].decode() == wanted.label
            assert classifier.labels[answer["label_index"][i, 0]] == wanted.label
            if task == "regression":
                assert answer["value"][i, 0] == pytest.approx(wanted.value, abs=1e-5)
                continue
            np.testing.assert_allclose(answer["probabilities"][i], list(wanted.probabilities.values()), atol=1e-6)
            if task == "multilabel":
                assert tuple(label.decode() for label in answer["labels"][i] if label) == wanted.label_set


def test_probabilities_of_several_labels_are_each_labels_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton = Triton(export(tmp_path, "multilabel", max_batch=40), monkeypatch)
    windows = live_of(IMAGE_TEXT.complete, 40)
    windows["image"] *= 3
    answer = triton.ask(windows)
    wanted = 1 / (1 + np.exp(-expected_outputs(windows) / TEMPERATURES["image+text"]))
    np.testing.assert_allclose(answer["probabilities"], wanted, atol=1e-5)
    given = [[label.decode() for label in row if label] for row in answer["labels"]]
    assert {len(row) for row in given} == {0, 1, 2, 3}, "the windows are no test of it"
    for row, probabilities in zip(given, wanted, strict=True):
        order = [LABELS[k] for k in np.argsort(-probabilities) if probabilities[k] >= 0.5]
        assert row == order


def test_a_loud_picture_overflows_no_probability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton = Triton(export(tmp_path, "multilabel"), monkeypatch)
    windows = {"image": 1e30 * live_of(frozenset({"image"}), 2)["image"]}
    with np.errstate(all="raise"):
        answer = triton.ask(windows)
    assert set(answer["probabilities"].ravel()) == {0.0, 1.0}


def bad_requests() -> dict[str, tuple[Windows, str]]:
    """Windows, and the error's words."""
    good = random_examples(count=2)
    low, high, nan = good["text"].copy(), good["text"].copy(), good["image"].copy()
    low[1, 0], high[0, 3], nan[1, 2, 7, 7] = -1, TEXT.vocabulary, np.nan
    unknown = "text: holds ids outside 0 to 31; use the tokenizer of this repository"
    return {
        "id below 0": ({"text": low}, unknown),
        "id too high": ({**good, "text": high}, unknown),
        "ids in int32": ({"text": good["text"].astype(np.int32)}, "text: is int32 [2, 6] instead of int64 [batch, 6]"),
        "ids in float": ({"text": good["text"].astype(np.float32)}, "text: is float32 [2, 6] instead of int64"),
        "no batch": ({"text": good["text"][0]}, "text: is int64 [6] instead of int64 [batch, 6]"),
        "too short": ({"text": good["text"][:, :5]}, "text: is int64 [2, 5] instead of int64 [batch, 6]"),
        "empty": ({"text": good["text"][:0]}, "text: is int64 [0, 6] instead of int64 [batch, 6]"),
        "a number": ({"text": np.array(3)}, "text: is int64 [] instead of int64 [batch, 6]"),
        "picture": ({"image": good["image"][:, 0]}, "image: is float32 [2, 8, 8] instead of float32 [batch, 3, 8, 8]"),
        "NaN": ({**good, "image": nan}, "image: holds a NaN or an infinity; leave the modality out instead"),
        "nothing": ({}, "no live modality: send at least one of image, text"),
    }


@pytest.mark.parametrize("what", list(bad_requests()))
def test_what_is_no_example_is_refused_alone(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows, words = bad_requests()[what]
    triton = Triton(export(tmp_path), monkeypatch)
    good = live_of(IMAGE_TEXT.complete, 2)
    bad, after = triton.answers(triton.request(windows), triton.request(good))
    assert bad.has_error()
    assert words in bad.error().message()
    assert bad.error().code() == TritonError.INVALID_ARG
    np.testing.assert_array_equal(triton.checked(after, 2)["logits"], triton.ask(good)["logits"])


def test_the_tokenizer_lies_with_the_model_that_clients_call(tmp_path: Path) -> None:
    repository = export(tmp_path)
    assert (repository / "rep" / "tokenizer.text.json").read_text() == tokenizer_definition()
    assert [file for file in files(repository) if "tokenizer" in file] == ["rep/tokenizer.text.json"]
    assert not [file for file in files(export(tmp_path / "other", spec=FEATURES)) if "tokenizer" in file]


@pytest.mark.parametrize("task", TASKS)
def test_the_readme_says_what_is_sent_how_it_is_made_and_what_comes_back(task: Task, tmp_path: Path) -> None:
    text = (export(tmp_path, task) / "README.txt").read_text()
    for words in (
        "send those that are there",
        "    image: float32 [batch, 3, 8, 8], a picture of 8 x 8 pixels, normalised",
        "    text: int64 [batch, 6], a text of up to 6 tokens out of 32",
        "for each example of the batch",
        "with one of another shape, with a NaN or with an unknown id is refused",
        'pip install "rep-edge[vision-language]"',
        "    image: rep_edge.runtime.inputs.images reads and prepares a picture's file",
        "    text: rep_edge.runtime.inputs.texts makes a text's ids, with rep/tokenizer.text.json",
        {
            "multiclass": "probabilities and logits float32 [3]",
            "multilabel": "labels [3] (the names",
            "regression": "label (the side of zero that it is on: negative or positive)",
        }[task],
    ):
        assert words in text, words
    assert max(map(len, text.partition("A client in Python")[0].splitlines())) <= 120


def test_features_need_no_preparation(tmp_path: Path) -> None:
    text = (export(tmp_path, spec=FEATURES) / "README.txt").read_text()
    assert "    audio: float32 [batch, 9, 4], 9 feature vectors of 4" in text
    assert "vision-language" not in text
    assert "unknown id" not in text


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "spec", [IMAGE_TEXT, WindowSpec(modalities=(TEXT,)), FEATURES], ids=["both", "text", "features"]
)
def test_the_client_of_the_readme_works(
    task: Task, spec: WindowSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = export(tmp_path, task, spec)
    Pillow.new("RGB", (12, 8), (200, 30, 90)).save(repository / "image.jpg")
    _, _, shown = (repository / "README.txt").read_text().partition("numpy):\n\n")
    monkeypatch.chdir(repository)
    triton = Triton(repository, monkeypatch)
    printed = run_client(triton, shown)
    gone = spec.names[:-1] or spec.names
    assert [model for model, _ in triton.calls] == [f"rep_{'_'.join(gone)}"]
    names, numbers = expected(tmp_path / "bundle", repository, task, gone)
    assert re.findall(r"[a-z]{2,}", printed) == names
    np.testing.assert_allclose([float(x) for x in re.findall(r"-?\d[\d.e-]*", printed)], numbers, atol=1e-5)


def expected(bundle: Path, repository: Path, task: Task, live: tuple[str, ...]) -> tuple[list[str], Numbers]:
    """Of the picture and the words in the client, of zeros else: the labels said, and probabilities or the value."""
    opened = open_bundle(bundle)
    spec = opened.manifest.spec
    given = {"image": str(repository / "image.jpg"), "text": "a few words"}
    sources = {name: given[name] for name in live if name in given}
    windows = {name: values[None] for name, values in Examples(opened)(sources).items()}
    windows |= {name: np.zeros((1, *spec[name].shape), np.float32) for name in live if name not in given}
    pattern = spec.pattern_name(live)
    output = expected_outputs(windows, spec, task)
    said = activate(task, output, opened.manifest.temperatures[pattern])[0]
    if task == "regression":
        return [SIDES[int(said[0] > 0)]], said
    if task == "multilabel":
        return [LABELS[k] for k in np.argsort(-said, kind="stable") if said[k] >= 0.5], said
    return [LABELS[int(said.argmax())]], said


def test_the_router_reads_what_it_needs_of_the_configuration_alone(tmp_path: Path) -> None:
    config = read_config(export(tmp_path), "rep")
    told = {key: json.loads(config.parameters[key].string_value) for key in ("labels", "vocabularies", "routes")}
    assert told["vocabularies"] == {"text": 32}
    assert told["labels"] == list(LABELS)
    assert told["routes"]["text"] == {"model": "rep_text", "temperature": 2.5}
