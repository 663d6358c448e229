"""A new bundle while the service runs: verified, copied, warmed, swapped between windows; or left alone, and why."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.service.bundles import FoundBundle, copy_bundle, identity, keep

LOGGER = logging.getLogger("rep_edge.reload")

LOOK_S = 5.0
"""Seconds between two looks at the bundle's manifest."""

AGAIN_S = 60.0
"""A bundle that was refused is tried again after so many s: it may have been looked at while it was being copied."""

SWAP_S = 60.0
"""Seconds that a swap may wait for the loop."""


class Reloading:
    """Watches the bundle at `source` in a thread of its own, and takes over what is new and works.

    found: what the service runs from; load: opens a bundle, all of its graphs warmed; swap: goes on with a classifier,
    and says whether that has begun. reloads: how many were taken over; failed: why the last new one was not, "".
    """

    def __init__(
        self,
        source: Path,
        state: Path,
        found: FoundBundle,
        load: Callable[[Path], Classifier],
        swap: Callable[[Classifier, float], bool],
    ) -> None:
        self.reloads, self.failed = 0, found.problem
        self._source, self._state, self._spec, self._used = source, state, found.spec, found.copy.name
        self._refused, self._again_s = "", 0.0
        self._load, self._swap = load, swap
        self._look = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def look(self) -> None:
        """Look at once, also at a bundle that was refused before."""
        self._again_s = 0.0
        self._look.set()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._look.set()
        self._thread.join(SWAP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look.wait(LOOK_S)
            self._look.clear()
            if not self._stop.is_set():
                self.turn()

    def turn(self) -> None:
        """Look once."""
        try:
            found = identity(self._source)
        except InputError:
            return  # It is being replaced, or is gone: the service goes on with its copy.
        if found == self._used or (found == self._refused and time.monotonic() < self._again_s):
            return
        try:
            self._adopt()
        except InputError as error:
            if str(error) != self.failed:
                LOGGER.error("the new bundle is not used, the one before it goes on: %s", error)
            self.failed, self._refused, self._again_s = str(error), found, time.monotonic() + AGAIN_S
        else:
            self.failed, self._used = "", found
            self.reloads += 1
            LOGGER.info("bundle %s is used from now on", found)

    def _adopt(self) -> None:
        copy = copy_bundle(self._source, self._state)
        classifier = self._load(copy)
        try:
            if classifier.spec != self._spec:
                raise InputError(
                    f"{self._source}: its modalities, rates or hop differ from those of the bundle in use; "
                    "restart the service to use it"
                )
            if not self._swap(classifier, SWAP_S):
                raise InputError(f"{self._source}: the loop did not take it over within {SWAP_S:g} s")
        except InputError:
            classifier.close()
            raise
        keep(copy, self._state)
