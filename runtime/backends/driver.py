"""Whether there is an NVIDIA driver: asked before any package is loaded that is of no use without one."""

from __future__ import annotations

import ctypes

from rep_edge.errors import InputError

LIBRARY = "libcuda.so.1"


def missing_driver() -> str | None:
    """Why the driver cannot be used, in one line; None where it is there."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        if "No such file" in str(error):
            return f"no NVIDIA driver ({LIBRARY} is not there)"
        return f"the NVIDIA driver cannot be loaded ({error})"
    return None


def require_driver(backend: str) -> None:
    """Raises InputError, in the name of a backend, where there is no driver."""
    missing = missing_driver()
    if missing is not None:
        raise InputError(f"{backend}: {missing}; install the driver or take --backend onnxruntime-cpu")
