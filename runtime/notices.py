"""Log lines that may come a thousand times a second: the first at once, then one a minute that counts the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

QUIET_S = 60.0
"""Seconds between two lines of one key."""

MOST_KEYS = 256
"""Keys that are remembered; a peer must not be able to fill the memory with new ones."""


class Notices:
    """notices.tell("refused", "shake 10.0.0.7: refused, is no packet")

    The first line of a key is logged at once. Lines that follow within `quiet_s` are counted, and the next one logged
    says how many they were. Threads may share it.
    """

    def __init__(
        self, logger: logging.Logger, quiet_s: float = QUIET_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger, self._quiet_s, self._now = logger, quiet_s, now
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, int]] = {}

    def tell(self, key: str, line: str, level: int = logging.WARNING) -> None:
        """Log a line, or count it."""
        now = self._now()
        with self._lock:
            if key not in self._last and len(self._last) >= MOST_KEYS:
                key = "others"
            last_s, held = self._last.get(key, (-self._quiet_s, 0))
            if now - last_s < self._quiet_s:
                self._last[key] = (last_s, held + 1)
                return
            self._last[key] = (now, 0)
        self._logger.log(level, f"{line} ({held} more of this kind)" if held else line)
