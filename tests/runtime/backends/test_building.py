"""Engines that are built while another backend serves: the graphs move one by one, and no window is lost."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import PAIR, expected_logits, make_bundle, random_windows

from rep_edge.errors import InputError
from rep_edge.runtime import classifier as classifying
from rep_edge.runtime.backends import building
from rep_edge.runtime.backends.base import Backend, Runner
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.backends.sessions import OnnxRuntimeRunner
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.choosing import Candidate, Candidates, Wish
from rep_edge.runtime.classifier import Classifier, start_classifier
from rep_edge.runtime.engines.lookup import EngineMissing
from rep_edge.runtime.prediction import Prediction

PATTERNS = ("acoustic+seismic", "acoustic", "seismic")
SLEEP = "import time; time.sleep(600)"
FAIL = "import sys; print('error: no room; free space', file=sys.stderr); sys.exit(1)"


class Runs:
    """A runner that says where it ran, and whether it was closed."""

    note = ""

    def __init__(self, inner: Runner) -> None:
        self.inner, self.windows, self.closed = inner, 0, False

    def run(self, windows: dict[str, np.ndarray]) -> np.ndarray:
        assert not self.closed
        self.windows += 1
        return self.inner.run(windows)

    def close(self) -> None:
        self.closed = True
        self.inner.close()


class Native:
    """A native TensorRT whose engines appear when `built` says so. fault: raised by an engine that is there."""

    name, device = "tensorrt-rtx", "a GPU"

    def __init__(self) -> None:
        self.built: set[str] = set()
        self.fault: InputError | None = None
        self.made: dict[str, Runs] = {}
        self.threads: set[str] = set()

    def open(self, bundle: Bundle, pattern: str, precision: str) -> Runs:
        if pattern not in self.built:
            raise EngineMissing(f"{pattern}: no engine was built; run  rep-edge compile")
        if self.fault is not None:
            raise self.fault
        self.threads.add(threading.current_thread().name)
        self.made[pattern] = Runs(OnnxRuntimeBackend().open(bundle, pattern, precision))
        return self.made[pattern]


class Cpu(OnnxRuntimeBackend):
    """The CPU, with its runners kept in sight."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, Runs] = {}

    def open(self, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        self.made[pattern] = Runs(super().open(bundle, pattern, precision))
        return self.made[pattern]  # type: ignore[return-value]


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Native:
    """The best backend of this machine; the CPU is the other one."""
    backend, cpu = Native(), Cpu()
    candidates = Candidates((Candidate(backend.name, "fp32", ""), Candidate(cpu.name, "fp32", "because")), ())
    started: dict[str, Backend] = {backend.name: backend, cpu.name: cpu}
    monkeypatch.setattr(classifying, "find_candidates", lambda bundle, wish: candidates)
    monkeypatch.setattr(classifying, "start_backend", lambda name, threads, prepack: started[name])
    monkeypatch.setattr(building, "PAUSE_S", 0.01)
    monkeypatch.setattr(building, "COMMAND", SLEEP)
    return backend


def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("nothing happened for 10 s")


def ask(classifier: Classifier, pattern: str, seed: int = 0) -> Prediction:
    """One window, found to be answered rightly."""
    live = {name: values for name, values in random_windows(seed=seed).items() if name in pattern.split("+")}
    prediction = classifier(live)
    logits = expected_logits(live)
    raised = np.exp(logits - logits.max())
    np.testing.assert_allclose(list(prediction.probabilities.values()), raised / raised.sum(), rtol=1e-4)
    return prediction


def test_graphs_move_to_their_engines_between_windows(native: Native, tmp_path: Path) -> None:
    classifier = Classifier.load(make_bundle(tmp_path / "bundle"))
    assert classifier.backend == "onnxruntime-cpu"
    assert classifier.reasons == [
        "tensorrt-rtx: seismic: no engine was built; run  rep-edge compile",
        "because",
        "engines for tensorrt-rtx in fp32 are being built; each graph moves to its own once it is there",
    ]
    for count, pattern in enumerate(PATTERNS, 1):
        before = {name: runs.windows for name, runs in native.made.items()}
        ask(classifier, pattern)
        assert {name: runs.windows for name, runs in native.made.items()} == before
        native.built.add(pattern)
        until(lambda: classifier._building._opened)
        ask(classifier, pattern)
        assert native.made[pattern].windows == 2, "its first run, and this window"
        assert len(native.made) == count
        assert (classifier.backend == "tensorrt-rtx") == (count == len(PATTERNS))
    until(lambda: len(classifier.reasons) == 4)
    assert classifier.reasons[3] == "engines are built: every graph moves to tensorrt-rtx in fp32"
    assert native.threads == {"engines"}, "a window waited while an engine was opened"
    classifier.close()
    assert all(runs.closed for runs in native.made.values())


def test_no_window_is_lost_while_graphs_move(native: Native, tmp_path: Path) -> None:
    classifier = Classifier.load(make_bundle(tmp_path / "bundle"))
    answered = 0
    moving = threading.Thread(target=lambda: [time.sleep(0.05) or native.built.add(p) for p in PATTERNS])
    moving.start()
    while classifier.backend != "tensorrt-rtx":
        for pattern in PATTERNS:
            ask(classifier, pattern, seed=answered)
            answered += 1
        assert answered < 100_000
    moving.join()
    served = sum(runs.windows - 1 for runs in native.made.values())
    cpu = sum(runs.windows - 1 for runs in classifier._backend.made.values())  # type: ignore[attr-defined]
    assert served + cpu == answered
    assert min(served, cpu) > 0
    assert all(runs.closed for runs in classifier._backend.made.values())  # type: ignore[attr-defined]


def test_a_build_that_fails_is_told_once_and_the_graphs_stay(
    native: Native, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "COMMAND", FAIL)
    native.built.add("acoustic")  # Left there by an earlier build.
    classifier = Classifier.load(make_bundle(tmp_path / "bundle"))
    until(lambda: classifier._building is None or classifier._building.failed)
    for pattern in (*PATTERNS, *PATTERNS):
        ask(classifier, pattern)
    told = [line for line in classifier.reasons if line.startswith("no engines")]
    assert told == ["no engines for acoustic+seismic, seismic, which stay where they are: no room; free space"]
    assert classifier.backend == "onnxruntime-cpu"
    assert native.made["acoustic"].windows == 3
    assert classifier._building is None


def test_an_engine_that_cannot_be_opened_ends_the_build(native: Native, tmp_path: Path) -> None:
    native.built, native.fault = set(PATTERNS), InputError("acoustic: the GPU's memory is full")
    with pytest.raises(InputError, match="memory is full"):
        native.open(open_bundle(make_bundle(tmp_path / "one")), "acoustic", "fp32")
    native.built = set()
    classifier = Classifier.load(make_bundle(tmp_path / "bundle"))
    native.built = {"acoustic"}
    until(lambda: classifier._building is None or classifier._building.failed)
    assert "the GPU's memory is full" in classifier.reasons[-1]
    ask(classifier, "acoustic")
    classifier.close()


def test_a_build_ends_with_its_classifier(native: Native, tmp_path: Path) -> None:
    classifier = Classifier.load(make_bundle(tmp_path / "bundle"))
    assert classifier._building is not None
    process = classifier._building._child.process
    assert process.poll() is None
    native.built.add("acoustic")
    until(lambda: classifier._building._opened)
    classifier.close()
    assert process.poll() is not None
    assert native.made["acoustic"].closed, "opened and never taken"


def test_a_build_ends_with_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from rep_edge.runtime.backends import building\n"
        "from rep_edge.runtime.bundle import open_bundle\n"
        "from rep_edge.runtime.engines.lookup import EngineMissing\n"
        f"building.COMMAND = {SLEEP!r}\n"
        "def missing(pattern):\n"
        "    raise EngineMissing(pattern)\n"
        "class Native:\n"
        "    name = 'tensorrt-rtx'\n"
        "made = building.start_building(open_bundle(Path(sys.argv[1])), Native(), 'fp32', missing, print)\n"
        "print(made._child.process.pid)\n"
    )
    import subprocess

    command = [sys.executable, str(program), str(make_bundle(tmp_path / "bundle"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not Path(f"/proc/{int(done.stdout.splitlines()[-1])}").exists()


def test_within_a_memory_budget_nothing_is_built(native: Native, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundle")
    classifier = Classifier.load(path, memory_mb=100)
    assert classifier._building is None
    assert classifier.reasons[-1] == (
        f"tensorrt-rtx: no engines are built within a memory budget; run  rep-edge compile {path}"
    )


def test_engines_that_are_there_are_used_at_once(native: Native, tmp_path: Path) -> None:
    native.built = set(PATTERNS)
    classifier = Classifier.load(make_bundle(tmp_path / "bundle"))
    assert (classifier.backend, classifier._building) == ("tensorrt-rtx", None)


def test_who_only_looks_builds_nothing(native: Native, tmp_path: Path) -> None:
    started = start_classifier(open_bundle(make_bundle(tmp_path / "bundle")), Wish())
    assert started.unbuilt == (native, "fp32")
    assert started.classifier._building is None


def test_the_command_that_builds_is_one_that_there_is(tmp_path: Path) -> None:
    lines: list[str] = []

    def missing(pattern: str) -> Runner:
        raise EngineMissing(pattern)

    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    made = building.start_building(bundle, Native(), "fp32", missing, lines.append)
    made._thread.join(60)
    if made._child.process.returncode == 0:
        pytest.skip("a GPU is there")
    assert made.failed
    assert lines[1].startswith("no engines for acoustic+seismic, acoustic, seismic, which stay where they are: ")
    assert any(words in lines[1] for words in ("GPU: ", "is not installed"))
    made.close()


def test_the_patterns_are_those_of_the_bundle() -> None:
    assert tuple(PAIR.pattern_name(pattern) for pattern in PAIR.patterns()) == PATTERNS
