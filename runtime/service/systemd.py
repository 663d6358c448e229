"""What systemd is told over its socket: ready, alive, stopping. Without systemd all of it does nothing.

The protocol is that of sd_notify(3): one datagram of NAME=VALUE lines to the socket named in NOTIFY_SOCKET.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notify(state: str) -> None:
    """Send one message, such as "READY=1". A socket that takes nothing is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    # "@" stands for the zero byte of an abstract address.
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(state.encode(), target)
        except OSError:
            return


def ready() -> None:
    """The service does its work."""
    notify("READY=1")


def stopping() -> None:
    """The service is about to end."""
    notify("STOPPING=1")


def watchdog() -> None:
    """The service is alive: due within every WatchdogSec."""
    notify("WATCHDOG=1")


def status(text: str) -> None:
    """One line for `systemctl status`."""
    notify("STATUS=" + " ".join(text.splitlines()))


def watchdog_period_s(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life, half of what systemd allows; None where it waits for none."""
    allowed = environment.get("WATCHDOG_USEC", "")
    process = environment.get("WATCHDOG_PID", str(os.getpid()))
    if not allowed.isdecimal() or int(allowed) == 0 or process != str(os.getpid()):
        return None
    return int(allowed) / 2e6
