"""When a sensor that is connected and not believed is opened again: a wedged microphone or camera needs that."""

from __future__ import annotations

FIRST_S = 10.0
MOST_S = 300.0
HEALTHY_S = 60.0


class Reopening:
    """One stream's patience: `due(believed, now_s)` at every turn.

    True after 10 s of a stream that is lost, then after 20, 40 ... 300 s, and from the start once it has been believed
    for a minute.
    """

    def __init__(self) -> None:
        self._wait_s = FIRST_S
        self._was_believed, self._since_s = False, -float("inf")

    def due(self, believed: bool, now_s: float) -> bool:
        """Whether to open it again now."""
        if believed != self._was_believed or self._since_s == -float("inf"):
            self._was_believed, self._since_s = believed, now_s
        lasted_s = now_s - self._since_s
        if believed:
            if lasted_s >= HEALTHY_S:
                self._wait_s = FIRST_S
            return False
        if lasted_s < self._wait_s:
            return False
        self._since_s, self._wait_s = now_s, min(2 * self._wait_s, MOST_S)
        return True
