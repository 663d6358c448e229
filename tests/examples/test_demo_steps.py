"""The demo does each step once, again when its input has changed, and goes on after it was cut off."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = """#!/bin/sh
echo "$1" >> calls
test ! -e refuse || exit 3
mkdir -p "$2"
"""


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """examples/demo.py in an empty folder; its commands make a folder and write down that they ran."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    command = tmp_path / "command"
    command.write_text(COMMAND)
    command.chmod(0o755)
    monkeypatch.setattr(module, "program", lambda: str(command))
    module.OUT.mkdir(parents=True)
    Path("input").write_text("one")
    return module


def step(demo: ModuleType) -> Any:
    left = demo.path("thing")
    return demo.Step("why", ("make", str(left)), (Path("input"),), (left,))


def calls() -> int:
    return len(Path("calls").read_text().splitlines())


def test_a_finished_step_is_not_done_again(demo: ModuleType) -> None:
    assert demo.run_once(step(demo)) is True
    assert demo.run_once(step(demo)) is False
    assert calls() == 1


def test_a_changed_input_removes_what_the_old_one_left(demo: ModuleType) -> None:
    demo.run_once(step(demo))
    (demo.path("thing") / "old").touch()
    Path("input").write_text("two")
    assert demo.run_once(step(demo)) is True
    assert list(demo.path("thing").iterdir()) == []


def test_a_result_that_was_removed_is_made_again(demo: ModuleType) -> None:
    demo.run_once(step(demo))
    demo.path("thing").rmdir()
    assert demo.run_once(step(demo)) is True
    assert demo.path("thing").is_dir()


def test_a_step_that_was_cut_off_finds_what_it_had_done(demo: ModuleType) -> None:
    Path("refuse").touch()
    with pytest.raises(subprocess.CalledProcessError):
        demo.run_once(step(demo))
    demo.path("thing").mkdir()
    (demo.path("thing") / "half").touch()
    Path("refuse").unlink()
    assert demo.run_once(step(demo)) is True
    assert (demo.path("thing") / "half").exists()


def test_the_rival_differs_from_rep_in_its_memory_alone(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CONFIG", EXAMPLES.parent / "configs" / "small.yaml")
    demo.write_head_only()
    ours, rival = demo.read_config(demo.CONFIG), demo.read_config(demo.HEAD_ONLY)
    assert rival.adapter.memory == "none"
    assert (rival.adapt, rival.data, rival.encoder) == (ours.adapt, ours.data, ours.encoder)


def test_every_command_of_the_demo_names_what_the_steps_before_it_left(demo: ModuleType) -> None:
    known = {demo.CONFIG, demo.HEAD_ONLY, demo.OUT}
    for one in [*demo.making(), *demo.judging()]:
        for file in one.reads:
            assert file in known or file.parent in known, file
        known |= set(one.leaves)
