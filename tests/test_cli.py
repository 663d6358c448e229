"""The command line as a user meets it: help, version, exit codes, one line for a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rep_edge import __version__
from rep_edge.cli.app import EXTRAS, main

ROOT = Path(__file__).parents[1]
COMMANDS = ("train", "adapt", "evaluate", "export", "inspect", "classify", "stream", "bench")


class Outcome(msgspec.Struct):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    """One command in this process."""
    monkeypatch.setattr(sys, "argv", ["rep-edge", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    printed = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return Outcome(end.value.code, printed.out, printed.err)


def run_python(code: str, *arguments: str) -> Outcome:
    """A fresh interpreter that runs `code` and then the command line."""
    program = f"{code}\nfrom rep_edge.cli.app import main\nmain()"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120)
    return Outcome(done.returncode, done.stdout, done.stderr)


def probe(statement: str) -> str:
    """Code that adds a command `probe` which carries out one statement."""
    return (
        "from rep_edge.cli.app import app\n"
        "from rep_edge.errors import InputError, MissingExtraError\n"
        f"@app.command()\ndef probe() -> None:\n    {statement}"
    )


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(monkeypatch, capsys, "--help")
    assert done.code == 0
    listed = [line.split()[0] for line in done.out.partition("Commands:")[2].splitlines() if line.strip()]
    assert sorted(name for name in listed if name in COMMANDS) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(monkeypatch, capsys, command, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: rep-edge {command}")
    assert done.err == ""


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, capsys, "--version") == Outcome(0, f"rep-edge {__version__}\n", "")


@pytest.mark.parametrize("arguments", [(), ("fly",), ("train",), ("train", "--fly"), ("stream", "bundle", "--fly")])
def test_wrong_usage_exits_with_2(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(monkeypatch, capsys, *arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Usage: rep-edge" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "nowhere.yaml", "--out", "out"),
        ("adapt", "nowhere", "--config", "nowhere.yaml", "--out", "out"),
        ("evaluate", "nowhere", "--out", "out"),
        ("export", "nowhere", "--out", "out"),
        ("inspect", "nowhere"),
        ("classify", "nowhere", "--source", "acoustic=a.wav"),
        ("stream", "nowhere", "--source", "acoustic=a.wav"),
        ("bench", "nowhere"),
    ],
)
def test_a_path_that_is_not_there_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(monkeypatch, capsys, *arguments)
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: nowhere")
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_several_lines_is_told_in_one() -> None:
    done = run_python(probe(r"raise InputError('file: first\nsecond')"), "probe")
    assert done == Outcome(1, "", "error: file: first second\n")


def test_a_package_that_a_command_asks_for_names_its_extra() -> None:
    done = run_python(probe("raise MissingExtraError('plots', 'matplotlib')"), "probe")
    assert done == Outcome(2, "", 'error: matplotlib is not installed: run  pip install "rep-edge[plots]"\n')


@pytest.mark.parametrize("module", sorted(EXTRAS))
def test_an_import_name_stands_for_a_package_of_its_extra(module: str) -> None:
    extra, package = EXTRAS[module]
    text = (ROOT / "pyproject.toml").read_text()
    listed = next(line for line in text.replace("\n  ", " ").splitlines() if line.startswith(f"{extra} = ["))
    assert f'"{package}>' in listed


def test_training_without_its_extra_exits_with_2(tmp_path: Path) -> None:
    blocked = "import sys\nsys.modules['torch'] = None"
    done = run_python(blocked, "train", str(ROOT / "configs" / "small.yaml"), "--out", str(tmp_path / "out"))
    assert done == Outcome(2, "", 'error: torch is not installed: run  pip install "rep-edge[train]"\n')
    assert not (tmp_path / "out").exists()


def test_an_unknown_module_is_a_fault_and_shows_where() -> None:
    done = run_python(probe("import not_a_module_of_ours"), "probe")
    assert done.code == 1
    assert "Traceback" in done.err


def test_ctrl_c_exits_with_130_and_one_line() -> None:
    assert run_python(probe("raise KeyboardInterrupt"), "probe") == Outcome(130, "", "interrupted\n")


def test_a_reader_that_leaves_the_pipe_is_no_fault() -> None:
    code = probe("[print('x' * 100) for _ in range(10_000)]")
    program = f"{code}\nfrom rep_edge.cli.app import main\nmain()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "probe"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "x" * 100 + "\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_the_command_line_starts_without_heavy_packages() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "scipy", "matplotlib", "obspy", "timm")
    code = f"import sys\nimport rep_edge.cli.app\nprint([name for name in {heavy} if name in sys.modules])\nsys.exit()"
    assert run_python(code).out == "[]\n"
