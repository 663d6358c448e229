"""rep-edge compile: what it prints where, what it leaves, and each mistake as one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bundles import make_bundle
from commands import run

from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.engines.gpu import Gpu

GPU = Gpu("NVIDIA RTX A2000", "sm86", "580.65.06, CUDA 13.0", 6 << 30)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of these tests."""
    monkeypatch.setenv("REP_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def test_engines_for_named_targets_go_into_the_bundle(bundle: Path, cache: Path) -> None:
    done = run("compile", bundle, "--target", "sm86, sm120", "--precision", "fp32", "--batch", "1,2,4")
    assert (done.code, done.out) == (0, "")
    engines = open_bundle(bundle).manifest.engines
    assert {engine.compute_capability for engine in engines} == {"sm86", "sm120"}
    assert {engine.batch for engine in engines} == {(1, 2, 4)}
    assert len(engines) == 6
    assert done.err.splitlines()[-1].startswith(f"{bundle}: holds 6 engines, ")
    assert len(list((cache / "logs").iterdir())) == 6
    assert not list(cache.glob("*.engine"))


def test_without_a_gpu_there_is_one_clear_line(bundle: Path, cache: Path) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU")
    error = run("compile", bundle).error
    assert error == "error: GPU: no NVIDIA driver is installed here; install it, or use a backend without GPU"
    assert not cache.exists()


def test_a_build_that_fails_on_the_gpu_is_one_line_with_its_log(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU")
    monkeypatch.setattr("rep_edge.runtime.engines.gpu.find_gpu", lambda: GPU)
    error = run("compile", bundle).error
    assert "cannot build an engine of it" in error
    log = Path(error.rpartition("its log is ")[2])
    assert log.parent == cache / "logs"
    assert "ERROR: " in log.read_text()
    assert not list(cache.glob("*.engine"))


def test_engines_of_this_gpu_go_into_the_cache(bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.runtime.engines.gpu.find_gpu", lambda: GPU)
    monkeypatch.setattr("rep_edge.runtime.engines.compiling.build_engine", lambda *arguments, **options: b"plan")
    done = run("compile", bundle)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[-1] == (f"{cache}: holds the 3 engines of this bundle for NVIDIA RTX A2000, 0.0 MB")
    assert len(list(cache.glob("*.engine"))) == 3
    assert open_bundle(bundle).manifest.engines == ()
    other = run("compile", bundle, "--cache", cache.parent / "other")
    assert other.code == 0
    assert len(list((cache.parent / "other").glob("*.engine"))) == 3


def test_a_folder_for_a_jetson_is_written(bundle: Path, tmp_path: Path) -> None:
    done = run("compile", bundle, "--jetson", "6", "--out", tmp_path / "jetson")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"wrote {tmp_path / 'jetson'}: copy it to the Jetson and run there  sh install.sh\n"
    assert (tmp_path / "jetson" / "install.sh").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--target", "sm90"], "sm90: is no target of tensorrt-rtx"),
        (["--target", ""], "'': names nothing"),
        (["--target", "sm86,,sm89"], "'sm86,,sm89': names nothing"),
        (["--target", "sm86", "--precision", "int8"], "has no int8 graphs, only fp32"),
        (["--precision", "fp8"], "has no fp8 graphs, only fp32"),
        (["--target", "sm86", "--batch", "8,4,1"], "batch '8,4,1': must rise"),
        (["--target", "sm86", "--version-compatible"], "has no version-compatible engines"),
        (["--version-compatible"], "--version-compatible: goes with --target"),
        (["--out", "somewhere"], "--out: goes with --jetson"),
        (["--jetson", "6"], "--jetson: takes --out FOLDER and nothing else"),
        (["--jetson", "6", "--out", "x", "--target", "sm87"], "--jetson: takes --out FOLDER and nothing else"),
        (["--jetson", "5", "--out", "x"], "JetPack 5: is not known; choose 6 or 7"),
    ],
)
def test_each_mistake_is_one_line(bundle: Path, arguments: list[str], told: str) -> None:
    assert told in run("compile", bundle, *arguments).error
    assert open_bundle(bundle).manifest.engines == ()


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path) -> None:
    assert "no such folder" in run("compile", tmp_path / "none", "--target", "sm86").error


def test_a_backend_that_is_not_installed_names_its_extra(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    done = run("compile", bundle, "--target", "sm86", "--backend", "tensorrt")
    assert done.code == 2
    assert done.err == 'error: tensorrt is not installed: run  pip install "rep-edge[tensorrt]"\n'


def test_a_device_needs_none_of_the_desks_packages(bundle: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxslim', 'scipy', 'matplotlib'): sys.modules[name] = None\n"
        f"sys.argv = ['rep-edge', 'compile', {str(bundle)!r}, '--target', 'sm89']\n"
        "from rep_edge.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(open_bundle(bundle).manifest.engines) == 3
