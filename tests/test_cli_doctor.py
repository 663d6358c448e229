"""doctor as a command: a text that can be pasted into a report, and an exit code that says whether anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import make_bundle
from commands import run
from precisions import make_bundle_in

from rep_edge.cli.checking import without_home
from rep_edge.runtime.choosing import BACKENDS, GPU_BACKENDS
from rep_edge.runtime.doctor import report


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the CPU and the bundle are looked at for real: the rest is told as on a machine without a GPU."""
    ask = report.ask_apart

    def answer(question: str, subject: str) -> dict[str, object]:
        if subject in GPU_BACKENDS:
            return {"problem": f"{subject}: no NVIDIA driver"}
        return ask(question, subject)

    monkeypatch.setattr(report, "ask_apart", answer)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("REP_EDGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_it_says_what_runs_here_in_plain_text(tmp_path: Path) -> None:
    path = make_bundle_in(tmp_path / "bundle", "int8")
    done = run("doctor", path)
    assert done.code == 0
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    assert lines[0].startswith("rep-edge ")
    for name in GPU_BACKENDS:
        assert f"  {name:20} does not start: no NVIDIA driver" in lines
    assert "  onnxruntime-cpu      runs on CPU" in lines
    assert "engine cache: ~/.cache/rep-edge/engines, 0 engines, 0 MB in all" in lines
    assert "bundle ~/bundle: verified" in lines
    assert "  precisions: fp32, int8" in lines
    assert "  engines in it: none" in lines
    assert lines[-1].startswith("  auto takes ")
    assert done.err.splitlines()[0] == "starting tensorrt-rtx"


def test_it_names_no_home_folder(tmp_path: Path) -> None:
    done = run("doctor", make_bundle(tmp_path / "bundle"))
    assert str(tmp_path) not in done.out
    broken = run("doctor", tmp_path / "none")
    assert str(tmp_path) not in broken.out + broken.err


def test_json(tmp_path: Path) -> None:
    done = run("doctor", make_bundle(tmp_path / "bundle"), "--json")
    (line,) = done.out.splitlines()
    found = json.loads(line)
    assert done.code == 0
    assert {state["name"]: state["starts"] for state in found["backends"]} == {
        name: name == "onnxruntime-cpu" for name in BACKENDS
    }
    assert found["bundle"]["path"] == "~/bundle"
    assert found["bundle"]["verified"]


def test_a_damaged_bundle_is_an_error_after_the_report(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundle")
    (path / "graphs/weights.fp32.bin").write_bytes(b"")
    done = run("doctor", path)
    assert done.code == 1
    assert done.out.splitlines()[-1] == "bundle ~/bundle: not usable"
    last = done.err.splitlines()[-1]
    assert last.startswith("error: ~/bundle/graphs/weights.fp32.bin: has 0 bytes instead of")


def test_where_nothing_runs_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ask_apart", lambda question, subject: {"problem": "crashed (SIGSEGV)"})
    for arguments in ((), ("--json",)):
        done = run("doctor", *arguments)
        assert done.code == 1
        assert done.err.splitlines()[-1].startswith("error: no backend starts on this machine; ")
        assert "crashed (SIGSEGV)" in done.out


@pytest.mark.parametrize(
    ("text", "home", "shown"),
    [
        ("/data/ann/bundle: no", "/data/ann", "~/bundle: no"),
        ("/data/anna/bundle and /data/ann", "/data/ann", "/data/anna/bundle and ~"),
        ("/data/ann-2/x", "/data/ann", "/data/ann-2/x"),
        ('{"path":"/data/ann"}', "/data/ann", '{"path":"~"}'),
        ("/bundle", "/", "/bundle"),
    ],
)
def test_the_home_folder_is_a_tilde(text: str, home: str, shown: str) -> None:
    assert without_home(text, Path(home)) == shown
