"""How long to wait before the next try: longer each time, up to a limit, and from the start after things went well."""

from __future__ import annotations


class Backoff:
    """first_s, then twice as long each time, at most `most_s`. What worked for `healthy_s` makes it begin anew, so
    that failures which lie days apart do not add up."""

    def __init__(self, first_s: float = 1.0, most_s: float = 60.0, healthy_s: float = 60.0) -> None:
        self.most_s = most_s
        self._first_s, self._healthy_s = first_s, healthy_s
        self._next_s = first_s

    def wait_s(self, worked_s: float) -> float:
        """Seconds to wait after a failure, before which it worked for `worked_s`."""
        if worked_s >= self._healthy_s:
            self._next_s = self._first_s
        wait_s = min(self._next_s, self.most_s)
        self._next_s = 2 * wait_s
        return wait_s
