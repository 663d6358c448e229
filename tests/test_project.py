"""The shape of the project: import arrows, package list, sizes, and documents that tell the truth about commands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer

from rep_edge.cli.app import app

ROOT = Path(__file__).parents[1]
ROOMS = {"rep_edge": "rep_edge", "export": "rep_edge.export", "calibration": "rep_edge.calibration"}
ROOMS["runtime"] = "rep_edge.runtime"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

VOCABULARY = {"rep_edge.signals", "rep_edge.errors", "rep_edge.files"}
"""What every room may import."""
MAY_IMPORT = {
    "rep_edge.runtime": {"rep_edge.runtime"},
    "rep_edge.calibration": {"rep_edge.calibration", "rep_edge.runtime"},
}
"""Room -> rooms of its own project that it may import, beside the vocabulary."""
DESK_PACKAGES = {
    *("torch", "torchaudio", "torchmetrics", "timm", "lightning", "lightning_fabric", "safetensors"),
    *("torchvision", "open_clip", "transformers", "huggingface_hub", "regex"),
    *("onnx", "onnxscript", "onnxslim", "scipy", "obspy", "sklearn", "matplotlib"),
}
"""Packages that a device does not have."""
SHARED_PREPARATION = {"rep_edge.runtime.inputs.images", "rep_edge.runtime.inputs.texts"}
"""What training prepares its pictures and texts with, so that it is what the device does."""
DEVICE_EXCEPTIONS = {("rep_edge.runtime.sources.seedlink", "obspy")}
"""What an extra of its own brings to a device."""


def sources() -> dict[str, Path]:
    """Module name -> file, of all four rooms."""
    found = {}
    for folder, package in ROOMS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            inner = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *inner)).removesuffix(".__init__")] = file
    return found


SOURCES = sources()


def imports(module: str, at_start: bool = False) -> set[str]:
    """Modules that a module imports, with project modules resolved to files; at_start: only what importing it runs."""
    tree = ast.parse(SOURCES[module].read_text())
    found = set()
    for node in _statements(tree, at_start):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names}
            modules = inner & SOURCES.keys()
            found |= modules if modules == inner else modules | {base}
    return found


def _statements(tree: ast.AST, at_start: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if at_start and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if at_start and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _statements(node, at_start)


def in_room(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if in_room(name, "rep_edge")}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_the_device_side_imports_only_the_device_side(room: str) -> None:
    for module in (name for name in SOURCES if in_room(name, room)):
        for name in ours(imports(module)) - VOCABULARY - {"rep_edge"}:
            assert any(in_room(name, allowed) for allowed in MAY_IMPORT[room]), f"{module} imports {name}"


def test_what_is_trained_knows_nothing_of_export_and_command_line() -> None:
    rooms = ("rep_edge.export", "rep_edge.calibration", "rep_edge.runtime", "rep_edge.cli")
    for module in (name for name in SOURCES if not any(in_room(name, room) for room in rooms)):
        for name in imports(module) - SHARED_PREPARATION:
            assert not any(in_room(name, room) for room in rooms), f"{module} imports {name}"


def test_export_knows_nothing_of_the_command_line() -> None:
    for module in (name for name in SOURCES if in_room(name, "rep_edge.export")):
        assert not any(in_room(name, "rep_edge.cli") for name in imports(module)), module


def test_no_desk_package_reaches_the_device() -> None:
    for module in SOURCES:
        if in_room(module, "rep_edge.runtime") or module in VOCABULARY:
            heavy = {name.partition(".")[0] for name in imports(module)} & DESK_PACKAGES
            heavy -= {package for name, package in DEVICE_EXCEPTIONS if name == module}
            assert not heavy, f"{module} imports {', '.join(heavy)}"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, rep_edge.signals\nprint([name for name in {sorted(DESK_PACKAGES)} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_circle_of_imports() -> None:
    arrows = {module: ours(imports(module, at_start=True)) & SOURCES.keys() - {module} for module in SOURCES}
    while leaves := {module for module, wanted in arrows.items() if not wanted}:
        arrows = {module: wanted - leaves for module, wanted in arrows.items() if module not in leaves}
    assert not arrows


def test_every_package_is_installed() -> None:
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())
    found = {name for name, file in SOURCES.items() if file.name == "__init__.py"}
    folders = {file.parent for file in SOURCES.values()}
    assert {SOURCES[name].parent for name in found} == folders, "a folder without __init__.py"
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_every_dependency_has_a_tested_version() -> None:
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]
    asked = [line for lines in (project["dependencies"], *project["optional-dependencies"].values()) for line in lines]
    names = {re.split(r"[\[<>= ]", line)[0].lower() for line in asked} - {"rep-edge", "onnxruntime-gpu", "tensorrt"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert names <= {line.partition("==")[0] for line in lines}
    pinned = re.compile(r'[a-z0-9-]+==[0-9][\w.]*( ; python_version (<|>=) "3\.11")?')
    assert all(pinned.fullmatch(line) for line in lines if not line.startswith("#"))


def written() -> list[Path]:
    """Files that people wrote."""
    folders = [*ROOMS, "tests", "examples", "benchmarks", "docs", "configs", ".ci"]
    inner = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    kinds = {".py", ".md", ".yaml", ".toml", ".txt", ".svg", ".json", ""}
    return [
        file for file in (*ROOT.glob("[A-Z]*"), *ROOT.glob("*.t*"), *inner) if file.is_file() and file.suffix in kinds
    ]


def test_files_stay_short() -> None:
    lengths = {str(file): len(file.read_text().splitlines()) for file in written() if file.suffix == ".py"}
    assert [file for file, length in lengths.items() if length >= 400] == []


def test_no_path_of_somebodys_machine() -> None:
    machine = re.compile(r"(?<![\w.~])/(?:work|root|home|Users)/\w")
    assert [str(file) for file in written() if file.name != "LICENSE" and machine.search(file.read_text())] == []


def shell_lines(document: Path) -> list[str]:
    """Commands in a document's code blocks, continued lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    return [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_documents_show_commands_and_options_that_exist(document: Path) -> None:
    group = typer.main.get_command(app)
    commands = vars(group)["commands"]
    for line in shell_lines(document):
        if not line.startswith("rep-edge "):
            continue
        _, name, *arguments = line.partition(" #")[0].split()
        if name.startswith("-"):
            continue
        assert name in commands, line
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= known, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_documents_show_targets_and_files_that_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = document.read_text()
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
        assert target in targets
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (document.parent / link).exists(), link
