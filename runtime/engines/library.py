"""The TensorRT that is installed: TensorRT 10 or 11, or TensorRT for RTX."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple

from rep_edge.errors import InputError, MissingExtraError

BACKENDS = {"tensorrt-rtx": ("tensorrt_rtx", "rtx"), "tensorrt": ("tensorrt", "tensorrt")}
"""Backend -> (import name, extra that brings it); the first that is installed is the one to use."""
OLDEST = 10
"""Major version of `tensorrt` from which a network with int8 layers can be strongly typed."""


class TensorRT(NamedTuple):
    """A loaded library. backend: "tensorrt" or "tensorrt-rtx"; version: as the package tells it, "1.7.1.116"."""

    module: Any
    backend: str
    version: str


def find_tensorrt(backend: str) -> TensorRT:
    """Load the library of a backend.

    Raises MissingExtraError where it is not installed, InputError where it cannot be loaded or is too old, and for a
    backend that is none.
    """
    if backend not in BACKENDS:
        raise InputError(f"{backend}: is no TensorRT backend; choose one of {', '.join(BACKENDS)}")
    name, extra = BACKENDS[backend]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise _broken(backend, error) from error
        raise MissingExtraError(extra, backend) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise _broken(backend, error) from error
    version = str(getattr(module, "__version__", ""))
    if not hasattr(module, "Builder") or not version:
        raise InputError(f"{backend}: the package {name} holds no TensorRT; remove it and install it again")
    if backend == "tensorrt" and int(version.partition(".")[0]) < OLDEST:
        raise InputError(f"tensorrt {version}: is too old; install TensorRT 10 or 11")
    return TensorRT(module, backend, version)


def installed_backend() -> str:
    """The backend to use where none was named. Raises MissingExtraError where none is installed."""
    for backend, (name, _) in BACKENDS.items():
        if importlib.util.find_spec(name) is not None:
            return backend
    raise MissingExtraError("rtx", "tensorrt-rtx")


def _broken(backend: str, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{backend}: is installed and cannot be loaded ({reason}); install it again")
