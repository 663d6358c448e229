"""What the doctor finds, and that it survives what it looks at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from bundles import make_bundle
from precisions import make_bundle_in

from rep_edge.errors import InputError
from rep_edge.runtime.backends.driver import missing_driver
from rep_edge.runtime.choosing import BACKENDS, GPU_BACKENDS
from rep_edge.runtime.doctor import answering, apart, machine, report
from rep_edge.runtime.doctor.apart import ask_apart
from rep_edge.runtime.doctor.one_node import ANSWER, WINDOW, one_node_graph, write_one_node
from rep_edge.runtime.doctor.report import BackendState, examine

without_driver = pytest.mark.skipif(missing_driver() is None, reason="a driver is there")


def silent(line: str) -> None:
    """Nobody listens."""


def fake_python(folder: Path, script: str, patch: pytest.MonkeyPatch) -> None:
    """What answers in place of a Python."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    patch.setattr(apart.sys, "executable", str(file))


def test_the_graph_of_one_node_is_sound_onnx() -> None:
    model = onnx.load_from_string(one_node_graph())
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert (node.op_type, model.ir_version, model.opset_import[0].version) == ("ReduceMax", 8, 17)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["batch", *WINDOW.shape[1:]]


def test_its_answer_is_not_its_window() -> None:
    assert (WINDOW.max(axis=1) == ANSWER).all()
    assert not any((WINDOW[:, i] == ANSWER).all() for i in range(2))


def test_the_cpu_computes_it() -> None:
    assert answering.start("onnxruntime-cpu") == {"told": "CPU"}


def test_a_backend_that_computes_something_else_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "EXPECTED", ANSWER + 1)
    assert answering.start("onnxruntime-cpu")["problem"].startswith("computes [[0.0, 0.0, 5.0, 3.0]] where [[1.0,")


ALONE = """
import sys
from rep_edge.runtime.doctor import answering
assert answering.start("onnxruntime-cpu") == {"told": "CPU"}
print(*(name for name in ("onnx", "torch", "tensorrt_rtx") if name in sys.modules))
"""


def test_it_needs_none_of_the_desks_packages() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr


@without_driver
def test_on_a_machine_without_gpu_the_cpu_runs_and_the_rest_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REP_EDGE_CACHE", str(tmp_path / "cache"))
    told: list[str] = []
    found = examine(None, told.append)
    assert [state.name for state in found.backends] == list(BACKENDS)
    assert [state.starts for state in found.backends] == [False] * 5 + [True]
    for state in found.backends[:5]:
        assert state.told.startswith("no NVIDIA driver (libcuda.so.1 is not there); ")
    assert (found.problem, found.bundle) == ("", None)
    assert found.machine.gpu == "none: no NVIDIA driver (libcuda.so.1 is not there)"
    assert found.machine.packages["numpy"]
    assert len(told) == len(BACKENDS) + 1
    assert not (tmp_path / "cache").exists(), "a look leaves nothing behind"


def test_engines_for_other_gpus_are_built_for_real() -> None:
    pytest.importorskip("tensorrt_rtx")
    answer = ask_apart("build", "tensorrt-rtx")
    assert "problem" not in answer
    assert "sm89" in str(answer["told"])


@without_driver
@pytest.mark.parametrize("name", GPU_BACKENDS)
def test_an_answer_from_a_process_of_its_own(name: str) -> None:
    assert str(ask_apart("start", name)["problem"]).startswith(f"{name}: no NVIDIA driver")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("kill -SEGV $$", "crashed (SIGSEGV)"),
        (
            "echo 'loading'; echo 'cannot allocate' >&2; kill -ABRT $$",
            "crashed (SIGABRT), its last words: cannot alloc",
        ),
        ("exit 7", "ended with exit code 7"),
        ("exit 0", "ended with exit code 0"),
        ("exec sleep 60", "gave no answer within 1 s"),
    ],
)
def test_a_library_that_crashes_or_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
) -> None:
    monkeypatch.setattr(apart, "LIMIT_S", 1.0)
    fake_python(tmp_path, script, monkeypatch)
    assert str(ask_apart("start", "onnxruntime-cuda")["problem"]).startswith(problem)


def test_what_libraries_print_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path, """echo hello; echo 'rep-edge answers: {"told": "GPU"}'; echo bye""", monkeypatch)
    assert ask_apart("start", "onnxruntime-cuda") == {"told": "GPU"}


def test_a_module_in_the_current_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 always looks there")
    (tmp_path / "msgspec.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    assert ask_apart("start", "onnxruntime-cpu") == {"told": "CPU"}


def test_where_nothing_starts_that_is_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ask_apart", lambda question, subject: {"problem": f"{subject}: crashed"})
    found = examine(None, silent)
    assert found.problem.startswith("no backend starts on this machine; ")
    assert found.backends[0] == BackendState(name="tensorrt-rtx", starts=False, told="crashed")


def test_a_bundle_and_what_auto_makes_of_it(tmp_path: Path) -> None:
    path = make_bundle_in(tmp_path / "bundle", "int8")
    answer = ask_apart("examine", str(path))
    found = msgspec.convert({"path": "bundle", **answer}, report.BundleState)
    assert (found.verified, found.problem) == (True, "")
    assert found.patterns == ("acoustic+seismic", "acoustic", "seismic")
    assert found.precisions == ("fp32", "int8")
    assert found.backend
    assert found.reasons


def test_a_damaged_bundle_is_the_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_bundle(tmp_path / "bundle")
    (path / "graphs/weights.fp32.bin").write_bytes(b"")
    monkeypatch.setattr(report, "BACKENDS", ("onnxruntime-cpu",))
    found = examine(path, silent)
    assert found.bundle is not None
    assert not found.bundle.verified
    assert "weights.fp32.bin: has 0 bytes instead of" in found.problem
    missing = examine(tmp_path / "none", silent)
    assert "none: no such folder" in missing.problem


def test_a_sound_bundle_that_no_backend_opens_is_the_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise InputError("onnxruntime: no")

    monkeypatch.setattr(answering, "start_classifier", fail)
    answer = answering.examine(str(make_bundle(tmp_path / "bundle")))
    assert (answer["verified"], answer["problem"]) == (True, "onnxruntime: no")


def test_the_cache_is_weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REP_EDGE_CACHE", str(tmp_path / "cache"))
    assert machine.describe_cache() == machine.CacheState(folder=str(tmp_path / "cache"), engines=0, megabytes=0.0)
    (tmp_path / "cache/kernels").mkdir(parents=True)
    (tmp_path / "cache/a.engine").write_bytes(bytes(1_500_000))
    (tmp_path / "cache/kernels/b.bin").write_bytes(bytes(500_000))
    found = machine.describe_cache()
    assert (found.engines, found.megabytes) == (1, 2.0)


def test_packages_that_break_each_other_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.describe_machine().clashes == ()
    monkeypatch.setattr("rep_edge.runtime.backends.sessions.version", lambda name: "1.30")
    first, second = machine.describe_machine().clashes
    assert first.startswith("onnxruntime 1.30 and onnxruntime-gpu 1.30 are installed side by side")
    assert second.startswith("onnxruntime-ep-nv-tensorrt-rtx 1.30 stands beside onnxruntime-gpu 1.30")


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    from rep_edge.runtime.engines.gpu import Gpu

    monkeypatch.setattr(machine, "missing_driver", lambda: None)
    monkeypatch.setattr(machine, "find_gpu", lambda: Gpu("NVIDIA RTX A2000", "sm86", "580.65, CUDA 13.0", 6 * 10**9))
    assert machine.describe_machine().gpu == "NVIDIA RTX A2000 (sm86), 6.0 GB, driver 580.65, CUDA 13.0"

    def fail() -> Gpu:
        raise InputError("GPU: its driver is too old")

    monkeypatch.setattr(machine, "find_gpu", fail)
    assert machine.describe_machine().gpu == "unknown: GPU: its driver is too old"


def test_the_probes_folder_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []

    def write(folder: Path) -> Any:
        folders.append(folder)
        bundle = write_one_node(folder)
        bundle.graph_file("probe", "fp32").write_bytes(b"no graph")
        return bundle

    monkeypatch.setattr(answering, "write_one_node", write)
    problem = answering.start("onnxruntime-cpu")["problem"]
    assert problem.startswith("graphs/probe.fp32.onnx: ONNX Runtime cannot open it")
    assert str(folders[0]) not in problem
    assert not folders[0].exists()
