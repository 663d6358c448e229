"""A real MQTT broker for tests: mosquitto on a free port of the loopback interface, with its files in a folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
START_S = 10.0

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


class ServerKeys(NamedTuple):
    """A certificate of the broker and its private key, PEM files."""

    certificate: Path
    key: Path


class Broker:
    """broker.stop() kills it like a power cut; broker.start() brings it back on the same port."""

    host = "127.0.0.1"

    def __init__(self, configuration: Path, port: int) -> None:
        self.port = port
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, "mosquitto ended as it started"
            assert time.monotonic() < deadline, "mosquitto does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """Returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0


@contextmanager
def running_mosquitto(
    folder: Path, user: str | None = None, password: str | None = None, keys: ServerKeys | None = None
) -> Iterator[Broker]:
    """A broker that answers; with a user it lets nobody else in, with keys it speaks TLS alone."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", "persistence false", "log_dest none"]
    lines.append(f"allow_anonymous {'true' if user is None else 'false'}")
    if os.getuid() == 0:
        lines.append("user root")  # else it gives its rights up and cannot read the folder
    if user is not None:
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, password or ""], check=True)
        lines.append(f"password_file {passwords}")
    if keys is not None:
        lines += [f"certfile {keys.certificate}", f"keyfile {keys.key}"]
    configuration = folder / "mosquitto.conf"
    configuration.write_text("\n".join(lines) + "\n")
    broker = Broker(configuration, port)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
