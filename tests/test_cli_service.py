"""serve and install-service as commands: what they print; a mistake ends in one line before anything starts."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundles import make_bundle
from commands import run

from rep_edge.runtime.service.config import ServiceConfig

CONFIG = """\
bundle: bundle
state_dir: {state}
nodes:
  - name: yard
    streams:
      acoustic: {{source: "mqtt://ann:${{PASSWORD}}@broker/sound"}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PASSWORD", "hunter2")
    make_bundle(tmp_path / "bundle")
    path = tmp_path / "rep-edge.yaml"
    path.write_text(CONFIG.format(state="/var/lib/rep-edge"))
    return path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServiceConfig]:
    """The configurations that the service was started with, instead of starting it."""
    found: list[ServiceConfig] = []

    def serve(config: ServiceConfig, environment: Mapping[str, str]) -> None:
        assert "PATH" in environment
        found.append(config)

    monkeypatch.setitem(sys.modules, "rep_edge.runtime.service.service", SimpleNamespace(serve=serve))
    return found


def test_check_says_what_would_run_and_starts_nothing(config: Path, served: list[ServiceConfig]) -> None:
    done = run("serve", "--config", config, "--check")
    assert (done.code, done.err, served) == (0, "", [])
    assert done.out.splitlines() == [
        f"bundle {config.parent / 'bundle'}: verified, exported 2026-01-01T00:00:00+00:00",
        "classes: quiet, car, truck",
        "node yard:",
        "  acoustic: mqtt://***@broker/sound",
        "  seismic: no source given, missing from the start",
        "backend auto, precision auto",
        "state: /var/lib/rep-edge",
        "sinks: none",
        "page: http://127.0.0.1:8765/",
    ]


def test_serve_starts_the_service_with_what_the_file_says(config: Path, served: list[ServiceConfig]) -> None:
    done = run("serve", "--config", config)
    assert (done.code, done.out) == (0, "")
    assert served[0].nodes[0].streams["acoustic"].source == "mqtt://ann:hunter2@broker/sound"


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_mistake_in_the_file_is_one_line_before_anything_starts(
    arguments: tuple[str, ...], config: Path, served: list[ServiceConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(config.read_text().replace("acoustic", "acustic"))
    told = (
        "error: rep-edge.yaml: line 6, nodes[0].streams.acustic: is no modality of the bundle; it has acoustic, seismic"
    )
    assert run("serve", "--config", config, *arguments).error == told
    config.write_text(config.read_text() + "backend: gpu\n")
    done = run("serve", "--config", config, *arguments)
    assert done.err.splitlines()[0] == told.removeprefix("error: ")
    assert done.error.startswith("error: rep-edge.yaml: line 7, backend: is none of ")
    monkeypatch.delenv("PASSWORD")
    assert "the environment variable PASSWORD is not set" in run("serve", "--config", config, *arguments).error
    assert run("serve", "--config", config.parent / "none.yaml", *arguments).error.endswith(
        "(No such file or directory)"
    )
    assert served == []


def test_a_damaged_bundle_is_an_error_of_the_check_and_left_to_the_service(
    config: Path, served: list[ServiceConfig]
) -> None:
    (config.parent / "bundle/manifest.json").unlink()
    assert "manifest.json: cannot be read" in run("serve", "--config", config, "--check").error
    assert run("serve", "--config", config).code == 0
    assert len(served) == 1


def test_the_schema_is_printed() -> None:
    done = run("serve", "--schema")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["title"] == "rep-edge serve"


def test_a_unit_is_printed_or_written_with_the_commands_that_come_next(config: Path, tmp_path: Path) -> None:
    shown = run("install-service", "--config", config, "--print")
    assert (shown.code, shown.err) == (0, "")
    assert f"serve --config {config}" in shown.out
    units = tmp_path / "units"
    done = run("install-service", "--config", config, "--unit-dir", units)
    assert (done.code, done.out) == (0, "")
    assert (units / "rep-edge.service").read_text().endswith(shown.out)
    assert done.err.splitlines()[1:] == [
        "  sudo systemctl daemon-reload",
        "  sudo systemctl enable --now rep-edge.service",
    ]


def test_a_unit_changed_by_hand_is_kept_unless_it_is_to_be_replaced(config: Path, tmp_path: Path) -> None:
    unit = tmp_path / "rep-edge.service"
    unit.write_text("[Unit]\n")
    arguments = ("install-service", "--config", config, "--unit-dir", tmp_path)
    assert "was changed by hand" in run(*arguments).error
    assert unit.read_text() == "[Unit]\n"
    assert run(*arguments, "--replace").code == 0


def test_the_secrets_of_the_file_need_not_be_set_to_install_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PASSWORD")
    done = run("install-service", "--config", config, "--print")
    assert done.code == 0
    assert "hunter2" not in done.out


def test_a_state_folder_elsewhere_needs_a_user_and_the_folder(config: Path, tmp_path: Path) -> None:
    config.write_text(CONFIG.format(state=tmp_path / "state"))
    arguments = ("install-service", "--config", config, "--unit-dir", tmp_path)
    assert "name a user with --user" in run(*arguments).error
    done = run(*arguments, "--user", getpass.getuser())
    assert done.code == 0
    assert f"  sudo install --directory --owner {getpass.getuser()} {tmp_path / 'state'}" in done.err.splitlines()
