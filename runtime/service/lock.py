"""One service for one state folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rep_edge.errors import InputError

FILE = "lock"


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold the folder, made where it is not there. The lock goes with the process, however that ends.

    Raises InputError where another process holds it, or it cannot be written.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        handle = (state_dir / FILE).open("w")
    except OSError as error:
        raise InputError(f"{state_dir}: cannot be written ({error.strerror}); choose another state_dir") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{state_dir}: another rep-edge serve uses it; stop that one or choose another state_dir"
            ) from error
        yield
