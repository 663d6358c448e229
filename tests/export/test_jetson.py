"""The folder for a Jetson: what is in it, that its wheel installs, and that its script does its steps in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from bundles import make_bundle, random_windows
from example_bundles import FEATURES, IMAGE_TEXT, make_example_bundle
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rep_edge import __version__
from rep_edge.errors import InputError
from rep_edge.export.jetson import JETPACKS, PINS, write_jetson
from rep_edge.export.wheel import make_wheel
from rep_edge.runtime.bundle import Bundle, file_record, open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.manifest import EngineRecord
from rep_edge.signals import WindowSpec

ROOT = Path(__file__).parents[2]
WHEEL = f"rep_edge-{__version__}-py3-none-any.whl"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "bundle"))


def constraints(python: str) -> dict[str, str]:
    """The versions that were tested together, for a Python before 3.11 or from it on."""
    other = '>= "3.11"' if python == "3.10" else '< "3.11"'
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition(" ;")[0] for line in lines if not line.startswith("#") and other not in line]
    return dict(pin.split("==") for pin in pins)


def test_the_folder_holds_all_that_is_needed(bundle: Bundle, tmp_path: Path) -> None:
    write_jetson(bundle, 6, tmp_path / "out")
    found = {file.name for file in (tmp_path / "out").iterdir()}
    assert found == {"bundle", "requirements.txt", "install.sh", "README.txt", WHEEL}
    window = {"acoustic": random_windows()["acoustic"]}
    ours, theirs = Classifier.load(tmp_path / "out" / "bundle"), Classifier.load(bundle.path)
    assert ours(window).probabilities == theirs(window).probabilities
    assert "sh install.sh" in (tmp_path / "out" / "README.txt").read_text()
    assert (tmp_path / "out" / "install.sh").stat().st_mode & 0o111


def test_engines_for_other_gpus_stay_behind(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.path / "engines").mkdir()
    (bundle.path / "engines" / "a.engine").write_bytes(b"plan")
    record = EngineRecord(
        pattern="acoustic",
        precision="fp32",
        file=file_record("engines/a.engine", b"plan"),
        graph_sha256="",
        backend="tensorrt-rtx",
        backend_version="1",
        compute_capability="sm89",
        batch=(1, 1, 8),
    )
    with_engine = Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, engines=(record,)))
    write_jetson(with_engine, 7, tmp_path / "out")
    assert open_bundle(tmp_path / "out" / "bundle").manifest == bundle.manifest
    assert not (tmp_path / "out" / "bundle" / "engines").exists()


@pytest.mark.parametrize(("version", "major"), [(6, "12"), (7, "13")])
def test_every_version_is_pinned_and_cuda_is_the_one_of_that_jetpack(
    bundle: Bundle, tmp_path: Path, version: int, major: str
) -> None:
    write_jetson(bundle, version, tmp_path / "out")
    lines = (tmp_path / "out" / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines)
    assert pins == JETPACKS[version].pins
    assert list(pins) == sorted(pins)
    assert pins["cuda-bindings"].partition(".")[0] == major == JETPACKS[version].cuda.partition(".")[0]
    assert not any(name.startswith("tensorrt") for name in pins), "TensorRT is JetPack's own"


@pytest.mark.parametrize("version", [6, 7])
def test_pins_are_the_versions_that_were_tested_together(version: int) -> None:
    tested = constraints(JETPACKS[version].python)
    asked = JETPACKS[version].pins | JETPACKS[version].preparing
    pins = {name: pin for name, pin in asked.items() if name != "cuda-bindings"}
    assert pins == {name: tested[name] for name in pins}


def test_what_the_device_asks_for_is_pinned() -> None:
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]
    extras = project["optional-dependencies"]
    asked = {re.split(r"[<>= ]", line)[0] for line in (*project["dependencies"], *extras["cpu"], *extras["sensors"])}
    for jetpack in JETPACKS.values():
        assert asked | {"cuda-bindings"} | PINS.keys() <= jetpack.pins.keys()
        assert {re.split(r"[<>= ]", line)[0] for line in extras["vision-language"]} <= jetpack.preparing.keys()
        assert not jetpack.pins.keys() & jetpack.preparing.keys()


@pytest.mark.parametrize("version", [6, 7])
def test_all_that_a_pinned_package_asks_for_is_pinned(version: int) -> None:
    jetpack = JETPACKS[version]
    pins = jetpack.pins | jetpack.preparing
    device = {"python_version": jetpack.python, "platform_machine": "aarch64", "sys_platform": "linux", "extra": ""}
    for name in jetpack.preparing:
        for line in metadata.requires(name) or [] if name in installed_names() else []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate(device):
                assert canonicalize_name(wanted.name) in pins, f"{name} asks for {line}"


def installed_names() -> set[str]:
    return {canonicalize_name(found.metadata["Name"]) for found in metadata.distributions()}


@pytest.mark.parametrize(("spec", "prepared"), [(IMAGE_TEXT, True), (FEATURES, False)], ids=["pictures", "features"])
def test_pictures_and_texts_bring_what_prepares_them(spec: WindowSpec, prepared: bool, tmp_path: Path) -> None:
    write_jetson(open_bundle(make_example_bundle(tmp_path / "bundle", spec=spec)), 6, tmp_path / "out")
    pins = JETPACKS[6].pins | (JETPACKS[6].preparing if prepared else {})
    lines = (tmp_path / "out" / "requirements.txt").read_text().splitlines()
    assert dict(line.split("==") for line in lines) == pins
    assert "rep-edge classify bundle --source NAME=VALUE\n" in (tmp_path / "out" / "README.txt").read_text()
    copied, written = open_bundle(tmp_path / "out" / "bundle").manifest, open_bundle(tmp_path / "bundle").manifest
    assert copied == written
    assert set(copied.tokenizers) == ({"text"} if prepared else set())


def test_an_unknown_jetpack_is_told_with_those_there_are(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^JetPack 5: is not known; choose 6 or 7$"):
        write_jetson(bundle, 5, tmp_path / "out")


def test_a_folder_that_is_there_is_not_written_over(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(InputError, match="is there already"):
        write_jetson(bundle, 6, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("step", ["shutil.copyfile", "rep_edge.export.jetson.write_file"])
def test_a_full_disk_leaves_nothing(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*arguments: object) -> None:
        if step == "shutil.copyfile":
            raise OSError(28, "No space left on device")
        raise InputError("cannot be written (No space left on device)")

    monkeypatch.setattr(step, full)
    with pytest.raises(InputError, match="No space left on device"):
        write_jetson(bundle, 6, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_the_wheel_is_the_same_each_time_and_holds_every_module() -> None:
    name, content = make_wheel()
    assert (name, content) == make_wheel()
    assert name == WHEEL


def test_the_wheel_installs_offline_and_runs(tmp_path: Path) -> None:
    name, content = make_wheel()
    (tmp_path / name).write_bytes(content)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
    install = [python, "-m", "pip", "install", "--no-index", "--no-deps", tmp_path / name]
    subprocess.run(install, check=True, capture_output=True, env=clean, cwd=tmp_path)
    check = [python, "-m", "pip", "show", "--files", "rep-edge"]
    shown = subprocess.run(check, check=True, capture_output=True, text=True, env=clean, cwd=tmp_path).stdout
    assert f"Version: {__version__}" in shown
    ours = {f"rep_edge/{f.relative_to(ROOT / 'rep_edge').as_posix()}" for f in (ROOT / "rep_edge").rglob("*.py")}
    for room in ("export", "calibration", "runtime"):
        ours |= {f"rep_edge/{f.relative_to(ROOT).as_posix()}" for f in (ROOT / room).rglob("*.py")}
    installed = {line.strip() for line in shown.splitlines() if line.strip().endswith(".py")}
    assert installed == ours
    assert "rep_edge/py.typed" in shown
    # Its dependencies from here: that the installed package runs is what is asked.
    code = (
        f"import sys; sys.path.append({str(Path(msgspec.__file__).parents[1])!r})\n"
        "import rep_edge.cli.app as app; assert 'venv' in app.__file__\n"
        "sys.argv = ['rep-edge', '--version']; app.main()"
    )
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True, env=clean, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"rep-edge {__version__}\n"), ran.stderr


def test_the_wheel_records_every_file_with_its_hash(tmp_path: Path) -> None:
    name, content = make_wheel()
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / name) as wheel:
        record = next(entry for entry in wheel.namelist() if entry.endswith("RECORD"))
        lines = wheel.read(record).decode().splitlines()
        assert {line.split(",")[0] for line in lines} == set(wheel.namelist())
        assert all("sha256=" in line for line in lines if not line.startswith(record))
        assert "rep-edge = rep_edge.cli.app:main" in wheel.read(record.replace("RECORD", "entry_points.txt")).decode()


class Jetson:
    """A pretended device: programs of the path that note how they were called, and fail where a test says so."""

    def __init__(self, folder: Path, machine: str = "aarch64", python: str = "(3, 10)", tensorrt: bool = True) -> None:
        self.calls = folder / "calls"
        self.programs = folder / "programs"
        self.programs.mkdir()
        self._program("uname", f"echo {machine}")
        self._program(
            "python3",
            f"""
case "$*" in
    *version_info*) [ "{python}" = "$(echo "$2" | grep -o '([0-9, ]*)' | tail -1)" ] ;;
    *tensorrt*) {"true" if tensorrt else "false"} ;;
    "-m venv"*)
        echo "$*" >>"{self.calls}"
        mkdir -p venv/bin
        for name in python rep-edge; do
            printf '#!/bin/sh\\necho %s "$*" >>"{self.calls}"\\n' "$name" >"venv/bin/$name"
            chmod +x "venv/bin/$name"
        done
        ;;
esac""",
        )

    def _program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def install(self, folder: Path) -> subprocess.CompletedProcess[str]:
        path = {"PATH": f"{self.programs}:{os.environ['PATH']}"}
        return subprocess.run(["sh", folder / "install.sh"], capture_output=True, text=True, env=path, cwd="/")


def test_the_script_does_its_steps_in_order(bundle: Bundle, tmp_path: Path) -> None:
    write_jetson(bundle, 6, tmp_path / "out")
    jetson = Jetson(tmp_path)
    done = jetson.install(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert jetson.calls.read_text().splitlines() == [
        "-m venv --system-site-packages venv",
        "python -m pip install --requirement requirements.txt",
        f"python -m pip install --no-deps --force-reinstall ./{WHEEL}",
        "rep-edge compile bundle --backend tensorrt",
        "rep-edge doctor bundle",
    ]


@pytest.mark.parametrize(
    ("machine", "python", "tensorrt", "told"),
    [
        ("x86_64", "(3, 10)", True, "error: this machine is no Jetson"),
        ("aarch64", "(3, 12)", True, "error: python3 is not 3.10: this folder is for JetPack 6"),
        ("aarch64", "(3, 10)", False, "error: JetPack's TensorRT has no Python package here: run  sudo apt install"),
    ],
)
def test_the_script_says_what_is_missing_before_it_changes_anything(
    bundle: Bundle, tmp_path: Path, machine: str, python: str, tensorrt: bool, told: str
) -> None:
    write_jetson(bundle, 6, tmp_path / "out")
    jetson = Jetson(tmp_path, machine, python, tensorrt)
    done = jetson.install(tmp_path / "out")
    assert (done.returncode, jetson.calls.exists()) == (1, False)
    assert done.stderr.splitlines()[-1].startswith(told)


@pytest.mark.parametrize("version", [6, 7])
def test_the_script_asks_for_the_python_of_its_jetpack(bundle: Bundle, tmp_path: Path, version: int) -> None:
    write_jetson(bundle, version, tmp_path / "out")
    text = (tmp_path / "out" / "install.sh").read_text()
    test = re.search(r"python3 -c '(import sys;.*?)'", text)
    assert test is not None
    wanted = tuple(map(int, JETPACKS[version].python.split(".")))
    done = subprocess.run([sys.executable, "-c", test[1]])
    assert done.returncode == (sys.version_info[:2] != wanted)
