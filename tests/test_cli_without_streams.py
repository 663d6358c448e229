"""Every command of a device on bundles whose examples stand alone: it works, or one line says why it cannot."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from bundles import LABELS
from commands import run
from example_bundles import FEATURES, IMAGE_TEXT, Task, make_example_bundle
from PIL import Image

from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.streaming import StreamingClassifier
from rep_edge.signals import WindowSpec

SPECS = [pytest.param(IMAGE_TEXT, "image, text", id="CLIP"), pytest.param(FEATURES, "words, audio, vision", id="MulT")]
REASON = "no stream of samples; classify such examples one by one"


@pytest.mark.parametrize(("spec", "names"), SPECS)
@pytest.mark.parametrize("source", [(), ("--source", "text=a.wav"), ("--source", "audio=mic:"), ("--speed", "max")])
def test_stream_says_that_there_are_none(spec: WindowSpec, names: str, source: tuple[str, ...], tmp_path: Path) -> None:
    bundle = make_example_bundle(tmp_path / "bundle", spec=spec)
    assert run("stream", bundle, *source).error == f"error: {names}: {REASON}"


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_serve_names_the_line_that_asks_for_one(check: tuple[str, ...], tmp_path: Path) -> None:
    make_example_bundle(tmp_path / "bundle")
    config = tmp_path / "rep-edge.yaml"
    config.write_text(
        f"bundle: {tmp_path / 'bundle'}\nstate_dir: {tmp_path / 'state'}\n"
        "nodes:\n  - name: yard\n    streams:\n      text: {source: 'mic:'}\n"
    )
    error = run("serve", "--config", config, *check).error
    assert error.endswith(f"rep-edge.yaml: line 6, nodes[0].streams.text.source: {REASON}")
    assert not (tmp_path / "state").exists()


def test_a_streaming_classifier_refuses_them_too(tmp_path: Path) -> None:
    from rep_edge.errors import InputError

    classifier = Classifier.load(make_example_bundle(tmp_path / "bundle"))
    with pytest.raises(InputError, match=f"^image, text: {REASON}$"):
        StreamingClassifier(classifier)


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_doctor_opens_the_bundle(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each backend in a process of its own takes seconds, and they know no bundle.
    from rep_edge.runtime.doctor import report

    apart = report.ask_apart
    monkeypatch.setattr(report, "ask_apart", lambda q, s: apart(q, s) if q == "examine" else {"told": "not asked"})
    done = run("doctor", make_example_bundle(tmp_path / "bundle", task), "--json")
    assert done.code == 0, done.err
    state = json.loads(done.out)["bundle"]
    assert (state["verified"], state["problem"]) == (True, "")
    assert state["patterns"] == ["image+text", "image", "text"]
    assert (state["backend"], state["precision"]) == ("onnxruntime-cpu", "fp32")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("multiclass", "classes: quiet, car, truck\n"),
        ("multilabel", "labels, any of them: quiet, car, truck\n"),
        ("regression", "a value, whose sides are: negative, positive\n"),
    ],
)
def test_inspect_tells_modalities_task_and_tokenizers(task: Task, words: str, tmp_path: Path) -> None:
    done = run("inspect", make_example_bundle(tmp_path / "bundle", task, trimmed=("text",)))
    assert (done.code, done.err) == (0, "")
    assert words in done.out
    assert "│ image │ a picture of 8 x 8 pixels, normalised │ float32 [3, 8, 8] │" in done.out
    assert "│ text  │ a text of up to 6 tokens out of 32    │ int64 [6]         │" in done.out
    assert "tokenizer of text: tokenizer.text.json, 0.0 MB; its texts are cut behind their end" in done.out
    assert "window every" not in done.out


def test_inspect_tells_of_features_and_no_tokenizer(tmp_path: Path) -> None:
    done = run("inspect", make_example_bundle(tmp_path / "bundle", spec=FEATURES))
    assert "│ audio  │ 9 feature vectors of 4 │ float32 [9, 4] │" in done.out
    assert "tokenizer" not in done.out


def test_inspect_for_programs_is_the_manifest(tmp_path: Path) -> None:
    bundle = make_example_bundle(tmp_path / "bundle", "regression")
    assert json.loads(run("inspect", bundle, "--json").out) == json.loads((bundle / "manifest.json").read_text())


def test_bench_leaves_out_what_needs_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.export.bench.ROUNDS", 2)
    monkeypatch.setattr("rep_edge.export.bench.footprint_mb", lambda path: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = run("bench", make_example_bundle(tmp_path / "bundle"), "--json", tmp_path / "bench.json")
    assert done.code == 0, done.err
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert figures["stream_overhead"] is None
    assert set(figures["latency_ms"]) == {"graph", "placeholder", "in turn"}


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_calibrate_refuses_other_tasks_before_it_looks_at_data(task: Task, tmp_path: Path) -> None:
    bundle = make_example_bundle(tmp_path / "bundle", task)
    error = run("calibrate", bundle, "--data", tmp_path / "nothing.yaml").error
    assert error == f"error: {task} bundles cannot be calibrated: it is for models that choose one class"


WORDS = ["a", "the", "cat", "dog", "sits", "runs", "on", "under", "table"]
DISHES = """\
signals:
  modalities:
    - {{kind: image, name: image, size: {size}}}
    - {{kind: text, name: text, tokens: 6, vocabulary: 32, placeholder: [30, 31], end: {end}}}
data: {{source: food101, root: {root}}}
encoder: {{kind: clip}}
"""


def write_dishes(root: Path, size: int = 8, end: int = 31) -> Path:
    """A Food-101 of the bundle's three classes, whose pictures and titles depend on the class, and its experiment."""
    drawn = random.Random(0)
    texts: dict[str, str] = {}
    sides: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, label in enumerate(LABELS):
        for k in range(60):
            name, side = f"{label}_{k}.png", ("train", "val", "test")[k % 20 // 8]
            folder = root / "images" / ("test" if side == "test" else "train") / label
            folder.mkdir(parents=True, exist_ok=True)
            colour = tuple(drawn.randrange(60 * number, 60 * number + 120) for _ in range(3))
            Image.new("RGB", (9, 8), colour).save(folder / name)
            texts[name] = " ".join(drawn.choices(WORDS, k=4))
            sides[side].append(name)
    numbers = {label: number for number, label in enumerate(LABELS)}
    for file, content in {"text": texts, "split": sides, "class_idx": numbers}.items():
        (root / f"{file}.json").write_text(json.dumps(content))
    (root / "config.yaml").write_text(DISHES.format(size=size, end=end, root=root))
    return root / "config.yaml"


def test_calibrate_reads_pictures_and_texts_as_the_device_does(tmp_path: Path) -> None:
    """The experiment names no tokenizer: texts go through the bundle's own."""
    bundle = make_example_bundle(tmp_path / "bundle", trimmed=("text",))
    data = write_dishes(tmp_path / "dishes")
    options = ("--method", "minmax", "--budget", "20", "--windows", "24", "--report", tmp_path / "report")
    done = run("calibrate", bundle, "--data", data, *options)
    assert done.code == 0, done.err
    manifest = open_bundle(bundle).manifest
    assert manifest.graph_precisions == ("fp32", "fp16", "int8")
    assert {record.windows for record in manifest.confidence.values()} == {len(LABELS) * 12}
    assert set(manifest.tokenizers) == {"text"}
    window = {"text": "a cat sits", "image": str(tmp_path / "dishes/images/test/car/car_16.png")}
    sources = (word for name, value in window.items() for word in ("--source", f"{name}={value}"))
    assert run("classify", bundle, *sources, "--precision", "int8", "--json").code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 16}, "calibration data: image has windows of [3, 16, 16] and the bundle takes [3, 8, 8]"),
        ({"end": 29}, "calibration data: text is prepared in another way than the bundle's"),
    ],
)
def test_calibrate_refuses_what_is_prepared_otherwise(changes: dict[str, int], words: str, tmp_path: Path) -> None:
    bundle = make_example_bundle(tmp_path / "bundle")
    assert words in run("calibrate", bundle, "--data", write_dishes(tmp_path / "dishes", **changes)).error


def test_calibrate_refuses_texts_that_the_bundle_has_not(tmp_path: Path) -> None:
    picture = WindowSpec(modalities=IMAGE_TEXT.modalities[:1])
    bundle = make_example_bundle(tmp_path / "bundle", spec=picture)
    error = run("calibrate", bundle, "--data", write_dishes(tmp_path / "dishes")).error
    assert "calibration data: has the text text, which the bundle has not; give the data that" in error


def test_export_triton_writes_what_clients_need(tmp_path: Path) -> None:
    bundle = make_example_bundle(tmp_path / "bundle", "multilabel")
    assert run("export-triton", bundle, "--out", tmp_path / "repository").code == 0
    assert (tmp_path / "repository" / "rep" / "tokenizer.text.json").is_file()


def test_compile_builds_engines_of_them(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    bundle = make_example_bundle(tmp_path / "bundle", "regression", trimmed=("text",))
    done = run("compile", bundle, "--target", "sm89", "--cache", tmp_path / "cache")
    assert done.code == 0, done.err
    assert len(open_bundle(bundle).manifest.engines) == 3
