"""The classifier picks the graph that fits what is live, and says in one line what it cannot take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from agreement import BOUND, require_agreement
from bundles import (
    ACOUSTIC,
    LABELS,
    PAIR,
    SEISMIC,
    TRIPLE,
    WEIGHTS,
    expected_logits,
    make_bundle,
    random_windows,
    record,
)
from numpy.typing import NDArray
from precisions import make_bundle_in

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.amendment import amend
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.backends.sessions import OnnxRuntimeRunner
from rep_edge.runtime.bundle import Bundle, file_record, open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.manifest import LabelSetRecord
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.processor import int8_saturates
from rep_edge.signals import WindowSpec

WHOLE = ACOUSTIC.shape


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(make_bundle(tmp_path_factory.mktemp("pair") / "bundle"))


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    raised = np.exp(logits.astype(np.float64) / temperature)
    return np.asarray(raised / raised.sum())


def check(prediction: Prediction, live: Mapping[str, NDArray[np.float32]], spec: WindowSpec) -> None:
    expected = softmax(expected_logits(live, spec))
    assert prediction.pattern == spec.pattern_name(live)
    assert list(prediction.probabilities) == list(LABELS)
    np.testing.assert_allclose(list(prediction.probabilities.values()), expected, rtol=1e-4)
    assert prediction.label == LABELS[int(expected.argmax())]
    assert prediction.latency_s > 0


@pytest.mark.parametrize("spec", [PAIR, TRIPLE])
def test_every_pattern_has_its_graph(tmp_path: Path, spec: WindowSpec) -> None:
    classifier = Classifier.load(make_bundle(tmp_path / "bundle", spec))
    windows = random_windows(spec)
    for pattern in spec.patterns():
        live = {name: windows[name] for name in pattern}
        check(classifier(live), live, spec)
        check(classifier({name: windows[name] if name in pattern else None for name in spec.names}), live, spec)


def test_the_window_has_a_place_in_time(classifier: Classifier) -> None:
    prediction = classifier(random_windows(), 12.5)
    assert (prediction.start_s, prediction.end_s) == (12.5, 13.5)
    assert classifier(random_windows()).start_s == 0.0


def test_one_channel_may_be_left_out_of_the_shape(classifier: Classifier) -> None:
    x = random_windows()["seismic"]
    assert classifier({"seismic": x[0]}).probabilities == classifier({"seismic": x}).probabilities


def test_float64_and_views_are_taken(classifier: Classifier) -> None:
    x = random_windows()["acoustic"]
    reference = classifier({"acoustic": x}).probabilities
    assert classifier({"acoustic": x.astype(np.float64)}).probabilities == reference
    assert classifier({"acoustic": np.repeat(x, 2, axis=1)[:, ::2]}).probabilities == reference


def test_temperature_of_the_pattern(tmp_path: Path) -> None:
    classifier = Classifier.load(make_bundle(tmp_path / "bundle", temperatures={"seismic": 2.5}))
    windows = random_windows()
    for live in ({"seismic": windows["seismic"]}, windows):
        expected = softmax(expected_logits(live), 2.5 if len(live) == 1 else 1.0)
        np.testing.assert_allclose(list(classifier(live).probabilities.values()), expected, rtol=1e-4)


def test_large_logits_do_not_overflow(classifier: Classifier) -> None:
    prediction = classifier({"acoustic": 1e6 * random_windows()["acoustic"]})
    assert sum(prediction.probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ({}, "no live modality"),
        ({"acoustic": None, "seismic": None}, "no live modality"),
        ({"radar": None}, "radar: is no modality of this bundle; it has acoustic, seismic"),
        ({"acoustic": np.zeros((1, 799), np.float32)}, r"acoustic: has shape \[1, 799\] instead of \[1, 800\]"),
        ({"acoustic": np.zeros((2, 800), np.float32)}, "has shape"),
        ({"acoustic": np.zeros((1, 1, 800), np.float32)}, "has shape"),
        ({"acoustic": np.zeros(0, np.float32)}, "has shape"),
        ({"acoustic": np.float32(1)}, "float32 array"),
        ({"acoustic": [0.0] * 800}, "must be a float32 array, not list"),
        ({"acoustic": np.zeros(WHOLE, np.int16)}, "not int16"),
        ({"acoustic": np.zeros(WHOLE, np.complex64)}, "not complex64"),
        ({"acoustic": np.zeros(WHOLE, object)}, "not object"),
        ({"acoustic": np.zeros(WHOLE, bool)}, "not bool"),
        ({"acoustic": np.zeros(WHOLE, np.float16)}, "not float16"),
        ({"acoustic": np.full(WHOLE, 1e300)}, "acoustic: holds a NaN or an infinity"),
        ({"acoustic": np.full(WHOLE, 3e38, np.float32)}, "too large"),
    ],
)
def test_what_cannot_be_a_window(classifier: Classifier, windows: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        classifier(windows)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 50, -1])
def test_one_sample_that_is_no_number(classifier: Classifier, value: float, at: int) -> None:
    x = random_windows()["seismic"]
    x[0, at] = value
    with pytest.raises(InputError, match="seismic: holds a NaN"):
        classifier({"seismic": x})
    opposites = np.zeros(SEISMIC.shape, np.float32)
    opposites[0, :2] = np.inf, -np.inf
    with pytest.raises(InputError, match="seismic: holds a NaN"):
        classifier({"seismic": opposites})


def test_a_fault_leaves_the_classifier_as_it_was(classifier: Classifier) -> None:
    windows = random_windows()
    before = classifier(windows).probabilities
    with pytest.raises(InputError):
        classifier({"acoustic": windows["acoustic"][:, :-1]})
    assert classifier(windows).probabilities == before


@pytest.mark.parametrize("count", [1, 2, 7])
def test_many_windows_at_once_are_as_one_by_one(tmp_path: Path, count: int) -> None:
    path = make_bundle(tmp_path / "bundle", TRIPLE, temperatures={"seismic": 2.5})
    classifier = Classifier.load(with_label_sets(path, seismic=0.3))
    for pattern in TRIPLE.patterns():
        asked = [{n: w for n, w in random_windows(TRIPLE, seed).items() if n in pattern} for seed in range(count)]
        made = classifier.batch(asked, [2.0 * i for i in range(count)])
        for i, (prediction, live) in enumerate(zip(made, asked, strict=True)):
            alone = classifier(live, 2.0 * i)
            assert (prediction.label, prediction.label_set) == (alone.label, alone.label_set)
            assert (prediction.start_s, prediction.end_s) == (2.0 * i, 2.0 * i + 1)
            for label, probability in alone.probabilities.items():
                assert prediction.probabilities[label] == pytest.approx(probability, abs=1e-6)


def test_a_run_takes_one_pattern_and_nothing_bad(classifier: Classifier) -> None:
    windows = random_windows()
    assert classifier.batch([], []) == []
    with pytest.raises(InputError, match="windows of several patterns"):
        classifier.batch([windows, {"seismic": windows["seismic"]}], [0.0, 1.0])
    with pytest.raises(InputError, match="seismic: holds a NaN"):
        classifier.batch([windows, windows | {"seismic": np.full(SEISMIC.shape, np.nan, np.float32)}], [0.0, 1.0])


def test_a_backend_that_builds_for_every_number_of_windows_gets_them_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier.load(make_bundle(tmp_path / "bundle"))
    sizes: list[int] = []
    run = OnnxRuntimeRunner.run

    def noted(runner: OnnxRuntimeRunner, windows: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        sizes.append(len(next(iter(windows.values()))))
        return run(runner, windows)

    monkeypatch.setattr(OnnxRuntimeRunner, "run", noted)
    asked = [random_windows(seed=seed) for seed in range(3)]
    together = classifier.batch(asked, [0.0] * 3)
    for backend in ("onnxruntime-tensorrt", "onnxruntime-rtx"):
        classifier.backend = backend
        alone = classifier.batch(asked, [0.0] * 3)
        assert [p.label for p in alone] == [p.label for p in together]
    assert sizes == [3, *[1] * 6]


def test_within_a_memory_budget_the_least_recently_used_graph_makes_room(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", TRIPLE)
    weights = (bundle / "graphs/weights.fp32.bin").stat().st_size
    classifier = Classifier.load(bundle, memory_mb=2.5 * weights / 1e6)
    assert classifier.opened[-1] == "acoustic+seismic+magnetic"
    windows = random_windows(TRIPLE)
    for name in ("acoustic", "seismic", "acoustic", "magnetic", "acoustic"):
        check(classifier({name: windows[name]}), {name: windows[name]}, TRIPLE)
        assert 1 <= len(classifier.opened) <= 2
    assert classifier.opened == ("magnetic", "acoustic")


def test_without_a_budget_everything_stays_open(classifier: Classifier) -> None:
    assert sorted(classifier.opened) == ["acoustic", "acoustic+seismic", "seismic"]


def test_a_budget_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memory_mb"):
        Classifier.load(make_bundle(tmp_path / "bundle"), memory_mb=0)


@pytest.mark.parametrize("threads", [0, -2])
def test_threads_must_be_some(tmp_path: Path, threads: int) -> None:
    with pytest.raises(InputError, match="threads"):
        Classifier.load(make_bundle(tmp_path / "bundle"), threads=threads)


def with_label_sets(path: Path, **thresholds: float) -> Path:
    """The bundle with label sets: pattern -> lowest probability of a label in a set."""
    bundle = open_bundle(path)
    there = dict.fromkeys(thresholds, 1.0)
    sets = LabelSetRecord(coverage=0.9, thresholds=thresholds, covered=there, size=there)
    amend(bundle, {}, msgspec.structs.replace(bundle.manifest, label_sets=sets))
    return path


def test_without_label_sets_there_is_none(classifier: Classifier) -> None:
    assert classifier(random_windows()).label_set is None


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.2, 0.4, 0.99, 1.0])
def test_a_label_set_holds_what_reaches_the_threshold_and_always_the_label(tmp_path: Path, threshold: float) -> None:
    path = with_label_sets(make_bundle(tmp_path / "bundle", temperatures={"seismic": 2.5}), seismic=threshold)
    classifier = Classifier.load(path)
    sizes = set()
    for seed in range(20):
        windows = random_windows(seed=seed)
        prediction = classifier({"seismic": windows["seismic"]})
        found, said = prediction.label_set, prediction.probabilities
        assert found is not None
        assert found[0] == prediction.label
        assert set(found) == {label for label in LABELS if said[label] >= threshold} | {prediction.label}
        assert list(found) == sorted(found, key=lambda label: -said[label])
        sizes.add(len(found))
        assert classifier(windows).label_set is None, "the pattern has no threshold"
    assert sizes == {0.0: {3}, 0.99: {1}, 1.0: {1}}.get(threshold, sizes)


def test_the_threshold_is_for_probabilities_at_the_fitted_temperature(tmp_path: Path) -> None:
    windows = {"seismic": random_windows()["seismic"]}
    cold = Classifier.load(make_bundle(tmp_path / "cold", temperatures={"seismic": 0.02}))
    assert max(cold(windows).probabilities.values()) > 0.9
    warm = Classifier.load(with_label_sets(make_bundle(tmp_path / "w", temperatures={"seismic": 50.0}), seismic=0.3))
    assert len(warm(windows).label_set or ()) == 3


def test_the_precision_that_was_asked_for_is_the_one_that_runs(tmp_path: Path) -> None:
    path = make_bundle_in(tmp_path / "bundle", "fp16", "int8")
    reference = Classifier.load(path, backend="onnxruntime-cpu", precision="fp32")
    for precision in ("fp16", "int8"):
        for graph in open_bundle(path).manifest.graphs:
            assert (path / graph.file.path).exists()
        made = Classifier.load(path, backend="onnxruntime-cpu", precision=precision)
        assert (made.backend, made.precision) == ("onnxruntime-cpu", precision)
        notes = [line for line in made.reasons if "saturate" in line]
        assert [line for line in made.reasons if line not in notes] == [f"{precision} was asked for"]
        assert len(notes) == (len(made.bundle.manifest.graphs) // 3 if precision == "int8" and int8_saturates() else 0)
        windows = [{name: random_windows(seed=s)[name] for name in p} for s in range(3) for p in PAIR.patterns()]
        require_agreement([made(w) for w in windows], [reference(w) for w in windows], BOUND[precision])


def test_a_memory_budget_counts_the_graphs_of_its_precision(tmp_path: Path) -> None:
    path = make_bundle_in(tmp_path / "bundle", "int8")
    bundle = open_bundle(path)
    larger = (path / WEIGHTS).read_bytes() * 3
    weights = bundle.manifest.weights | {"int8": file_record("graphs/weights.int8.big.bin", larger)}
    amend(bundle, {weights["int8"].path: larger}, msgspec.structs.replace(bundle.manifest, weights=weights))
    budget = 3.5 * len(larger) / 3 / 1e6
    assert len(Classifier.load(path, precision="fp32", memory_mb=budget).opened) == 3
    assert len(Classifier.load(path, precision="int8", memory_mb=budget).opened) == 1


def test_the_graph_that_makes_room_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(OnnxRuntimeRunner, "close", lambda runner: closed.append(runner))
    bundle = make_bundle(tmp_path / "bundle")
    classifier = Classifier.load(bundle, memory_mb=1e-9)
    assert (classifier.opened, len(closed)) == (("acoustic+seismic",), 2)
    classifier.close()
    assert (classifier.opened, len(closed)) == ((), 3)


def test_a_classifier_that_cannot_be_opened_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, closed = [], []
    monkeypatch.setattr(OnnxRuntimeRunner, "close", lambda runner: closed.append(runner))
    opened = OnnxRuntimeBackend.open

    def open_but_one(self: OnnxRuntimeBackend, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        if pattern == "acoustic+seismic":
            raise InputError("acoustic+seismic: cannot be opened")
        made.append(opened(self, bundle, pattern, precision))
        return made[-1]

    monkeypatch.setattr(OnnxRuntimeBackend, "open", open_but_one)
    with pytest.raises(InputError, match=r"acoustic\+seismic: cannot be opened"):
        Classifier.load(make_bundle(tmp_path / "bundle"))
    assert len(made) == 2
    assert set(closed) == set(made)


def test_labels_that_do_not_fit_the_graphs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="instead of one logit for each of the 2 labels"):
        Classifier.load(make_bundle(tmp_path / "bundle", labels=2))


def test_a_graph_that_is_none(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    name = "graphs/seismic.fp32.onnx"
    (bundle / name).write_bytes(b"no graph")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["graphs"][2]["file"].update(sha256=record(bundle, name).sha256, size=8)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"seismic\.fp32\.onnx: ONNX Runtime cannot open it"):
        Classifier.load(bundle)


def test_without_onnx_runtime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r'onnxruntime is not installed: run  pip install "rep-edge\[cpu\]"'):
        Classifier.load(make_bundle(tmp_path / "bundle"))


def test_two_builds_of_onnx_runtime_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.runtime.backends.sessions.version", lambda name: "1.30")
    with pytest.raises(InputError, match=r"onnxruntime 1.30 and onnxruntime-gpu 1.30 are installed side by side"):
        Classifier.load(make_bundle(tmp_path / "bundle"))
    assert metadata.version("onnxruntime")


DEVICE = """
import sys
import numpy as np
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.streaming import StreamingClassifier
import rep_edge.runtime.replay, rep_edge.runtime.sources.address
classifier = Classifier.load(sys.argv[1])
x = np.random.default_rng(0).standard_normal(100).astype(np.float32)
assert classifier({"seismic": x}).label
assert StreamingClassifier(classifier).push("seismic", np.tile(x, 3), 0.0)
print(*(name for name in sys.argv[2].split() if name in sys.modules))
"""


def test_the_device_loads_none_of_the_desks_packages(tmp_path: Path) -> None:
    heavy = "torch torchaudio timm lightning_fabric torchmetrics onnx onnxscript scipy obspy sklearn matplotlib yaml"
    command = [sys.executable, "-c", DEVICE, str(make_bundle(tmp_path / "bundle")), heavy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
