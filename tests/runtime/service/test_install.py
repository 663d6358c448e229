"""The systemd unit: what it says, that systemd takes it, and that changes by hand are never lost."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from rep_edge.errors import InputError
from rep_edge.runtime.service import install
from rep_edge.runtime.service.install import STATE, find_program, is_unchanged, signed, unit_text, write_unit

CONFIG = Path("/etc/rep-edge/rep-edge.yaml")
PROGRAM = Path("/opt/rep-edge/bin/rep-edge")


def lines(config: Path = CONFIG, program: Path = PROGRAM, user: str | None = None, state: Path = STATE) -> list[str]:
    return unit_text(config, program, user, [state]).splitlines()


def test_what_the_unit_says() -> None:
    found = lines()
    for line in (
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        "Restart=always",
        "RestartSec=5",
        "ExecStart=/opt/rep-edge/bin/rep-edge serve --config /etc/rep-edge/rep-edge.yaml",
        "WorkingDirectory=/etc/rep-edge",
        "EnvironmentFile=-/etc/rep-edge/environment",
        "StateDirectory=rep-edge",
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateTmp=yes",
    ):
        assert line in found
    assert not any(line.startswith(("User=", "ReadWritePaths=", "PrivateDevices=", "ProtectClock=")) for line in found)


def test_sensors_and_gpu_are_reached_through_the_groups_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.grp, "getgrnam", {"audio": 1, "render": 2}.__getitem__)
    assert "SupplementaryGroups=audio render" in lines()
    monkeypatch.setattr(install.grp, "getgrnam", {}.__getitem__)
    assert not any(line.startswith("SupplementaryGroups") for line in lines())


def test_paths_with_blanks_and_signs_are_quoted() -> None:
    found = lines(Path('/srv/my "edge"/50%.yaml'), Path("/opt/a b/$x/rep-edge"))
    assert r'ExecStart="/opt/a b/$$x/rep-edge" serve --config "/srv/my \"edge\"/50%%.yaml"' in found
    assert 'WorkingDirectory=/srv/my "edge"' in found
    with pytest.raises(InputError, match="holds characters"):
        lines(Path("/srv/a\nUser=root/c.yaml"))


def test_a_user_may_keep_the_state_elsewhere_and_a_made_up_one_may_not() -> None:
    found = lines(user=getpass.getuser(), state=Path("/data/edge state"))
    assert f"User={getpass.getuser()}" in found
    assert "DynamicUser=yes" not in found
    assert 'ReadWritePaths="/data/edge state"' in found
    with pytest.raises(InputError, match=r"/data: cannot belong to the user that systemd makes up; .* --user"):
        lines(state=Path("/data"))
    assert lines(state=STATE / "a") == lines()


@pytest.mark.parametrize("user", ["nobody-of-that-name", "a\nb", "", "\0"])
def test_a_user_who_is_not_there_is_told(user: str) -> None:
    with pytest.raises(InputError, match="is no user here"):
        lines(user=user)


def test_the_program_is_the_one_beside_this_python() -> None:
    assert find_program().name == "rep-edge"
    assert find_program().is_absolute()


def test_a_unit_is_renewed_but_not_one_that_was_changed_by_hand(tmp_path: Path) -> None:
    path = write_unit("a\n", tmp_path, replace=False)
    assert path == tmp_path / "rep-edge.service"
    write_unit("b\n", tmp_path, replace=False)
    assert path.read_text().splitlines()[1:] == ["b"]
    path.write_text(path.read_text() + "Nice=5\n")
    with pytest.raises(InputError, match="was changed by hand; keep it, or write over it with --replace"):
        write_unit("c\n", tmp_path, replace=False)
    assert "Nice=5" in path.read_text()
    write_unit("c\n", tmp_path, replace=True)
    assert path.read_text() == signed("c\n")


def test_a_unit_of_somebody_else_counts_as_changed_by_hand() -> None:
    assert is_unchanged(signed("x"))
    assert not is_unchanged("[Unit]\n")
    assert not is_unchanged(signed("x").replace("x", "y"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("user", [None, getpass.getuser()])
def test_systemd_takes_the_unit(user: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "with a blank"
    folder.mkdir()
    program = folder / "rep-edge"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = write_unit(unit_text(folder / "rep-edge.yaml", program, user, [STATE]), tmp_path, replace=False)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=60)
    assert [line for line in done.stderr.splitlines() if "rep-edge" in line] == []
