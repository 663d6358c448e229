"""A whole `rep-edge serve` in a process of its own, with a toy bundle, a looping sound file and Shake packets."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from bundles import make_bundle

PATIENCE_S = 30.0
"""Seconds after which something that should have happened has not."""


class Shake:
    """A Raspberry Shake's datacast of noise to a port of this machine; `stop` pulls the plug, `start` puts it in."""

    def __init__(self, port: int) -> None:
        self._port, self._stop = port, threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        rng = np.random.default_rng(1)
        began_s, offset_s, number = time.monotonic(), time.time() - time.monotonic(), 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._stop.wait(max(0.0, began_s + 0.25 * (number + 1) - time.monotonic())):
                counts = ", ".join(map(str, rng.integers(-1000, 1000, 25)))
                stamp = began_s + offset_s + 0.25 * number
                sender.sendto(f"{{'EHZ', {stamp:.3f}, {counts}}}".encode(), ("127.0.0.1", self._port))
                number += 1


class Served:
    """The service of one folder: configuration, bundle, state. It may be started again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bundle, self.state = folder, make_bundle(folder / "bundle"), folder / "state"
        self.port, shake_port = free_port(), free_port(socket.SOCK_DGRAM)
        self.shake = Shake(shake_port)
        sound = 0.1 * np.random.default_rng(0).standard_normal(800 * 30, dtype=np.float32)
        soundfile.write(folder / "sound.wav", sound, 800, subtype="FLOAT")
        (folder / "rep-edge.yaml").write_text(f"""
bundle: bundle
state_dir: state
nodes:
  - name: yard
    streams:
      acoustic: {{source: "file:sound.wav?loop=yes"}}
      seismic: {{source: "shake:127.0.0.1:{shake_port}?channel=EHZ"}}
events:
  {{threshold: 0.36, onset_windows: 1, onset_of: 1, end_windows: 1, release_margin: 0,
   smoothing_windows: 0, update_every_s: 1}}
clips: {{before_s: 0.5, after_s: 0.5}}
sinks: {{jsonl: {{path: events.jsonl}}}}
web: {{port: {self.port}}}
""")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = "from rep_edge.cli.app import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", "--config", str(self.folder / "rep-edge.yaml")],
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and what was said on standard error."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, told = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, told

    def close(self) -> None:
        """However the test ended."""
        self.shake.stop()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            content: bytes = answer.read()
        return content

    def status(self) -> Any:
        return json.loads(self.get("/api/status"))

    def node(self) -> Any:
        return self.status()["nodes"][0]

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Until `condition()` holds; errors while the service starts are no."""
        assert self.process
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            try:
                if condition():
                    return
            except (OSError, IndexError, KeyError):
                pass
            assert self.process.poll() is None, f"the service ended: {self.process.communicate()[1]}"
            time.sleep(0.05)
        raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")

    def delivered(self) -> list[Any]:
        """The events that the receiver has, whole lines."""
        path = self.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
