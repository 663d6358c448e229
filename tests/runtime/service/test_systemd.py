"""systemd is told over a real datagram socket, named by a path or abstract; without one nothing happens."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rep_edge.runtime.service import systemd


def listening(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.settimeout(5)
    listener.bind(address)
    return listener


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_messages_arrive(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "s") if kind == "path" else f"\0rep-edge-test-{os.getpid()}"
    with listening(name) as listener:
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        systemd.ready()
        systemd.watchdog()
        systemd.status("yard:\nacoustic")
        systemd.stopping()
        told = [listener.recv(100) for _ in range(4)]
    assert told == [b"READY=1", b"WATCHDOG=1", b"STATUS=yard: acoustic", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/socket", "@nobody-listens", "relative", "/" + "x" * 300])
def test_nobody_who_listens_is_no_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.ready()
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.ready()


def test_a_listener_that_does_not_read_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(str(tmp_path / "s")):
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
        for _ in range(2000):
            systemd.watchdog()


@pytest.mark.parametrize(
    ("environment", "period_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_sign_of_life_is_due_twice_in_the_time_allowed(environment: dict[str, str], period_s: float | None) -> None:
    assert systemd.watchdog_period_s(environment) == period_s
