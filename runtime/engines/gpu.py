"""The GPU of this machine: what it is, or in one line why there is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from rep_edge.errors import InputError, MissingExtraError

DRIVER = Path("/proc/driver/nvidia/version")
"""Where Linux tells the driver's own version; CUDA tells only the CUDA version that the driver goes up to."""


class Gpu(NamedTuple):
    """The first GPU that CUDA shows (CUDA_VISIBLE_DEVICES chooses among several).

    compute_capability: "sm89"; driver: "580.65.06, CUDA 13.0", the first part only where the system tells it.
    """

    name: str
    compute_capability: str
    driver: str
    memory_bytes: int


def find_gpu() -> Gpu:
    """Ask CUDA's driver.

    Raises MissingExtraError without cuda-bindings; InputError where there is no driver, no GPU, or a driver that is
    too old for the CUDA that is installed.
    """
    try:
        import cuda.bindings
        from cuda.bindings import driver
    except ImportError as error:
        raise MissingExtraError("rtx", "cuda-bindings") from error
    _start(driver)
    supported = int(_value(driver, driver.cuDriverGetVersion()))
    cuda_version = f"{supported // 1000}.{supported % 1000 // 10}"
    built_for = str(cuda.bindings.__version__)
    if supported // 1000 < int(built_for.partition(".")[0]):
        raise InputError(
            f"GPU: its driver is too old: it goes up to CUDA {cuda_version}, and cuda-bindings {built_for} are "
            f'installed; update the driver or run  pip install "cuda-bindings<{supported // 1000 + 1}"'
        )
    if int(_value(driver, driver.cuDeviceGetCount())) == 0:
        raise InputError("GPU: the NVIDIA driver shows none; check nvidia-smi and CUDA_VISIBLE_DEVICES")
    device = _value(driver, driver.cuDeviceGet(0))
    return Gpu(
        name=_value(driver, driver.cuDeviceGetName(128, device)).split(b"\0")[0].decode(),
        compute_capability=_compute_capability(driver, device),
        driver=", ".join(filter(None, (_driver_version(), f"CUDA {cuda_version}"))),
        memory_bytes=int(_value(driver, driver.cuDeviceTotalMem(device))),
    )


def _start(driver: Any) -> None:
    """cuInit, each of its failures told apart."""
    try:
        (status,) = driver.cuInit(0)
    except (RuntimeError, OSError, ImportError) as error:  # The package finds no libcuda.
        raise InputError("GPU: no NVIDIA driver is installed here; install it, or use a backend without GPU") from error
    name = _name(status)
    if name in ("CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_INVALID_DEVICE"):
        raise InputError("GPU: the NVIDIA driver shows none; check nvidia-smi and CUDA_VISIBLE_DEVICES")
    if name in ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"):
        raise InputError(f"GPU: its driver is too old for the CUDA libraries here ({name}); update the driver")
    if name == "CUDA_ERROR_STUB_LIBRARY":
        raise InputError("GPU: libcuda is a stub without a driver; install the NVIDIA driver")
    if name != "CUDA_SUCCESS":
        raise InputError(f"GPU: the NVIDIA driver does not start ({name}); check nvidia-smi, then restart the machine")


def _compute_capability(driver: Any, device: Any) -> str:
    kinds = driver.CUdevice_attribute
    major, minor = (
        int(_value(driver, driver.cuDeviceGetAttribute(kind, device)))
        for kind in (
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    return f"sm{major}{minor}"


def _driver_version() -> str:
    """ "580.65.06", or "" where the system does not tell."""
    try:
        found = re.search(r"Kernel Module.*? (\d+(?:\.\d+)+) ", DRIVER.read_text(errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def _value(driver: Any, answer: tuple[Any, ...]) -> Any:
    """The result of a call to the driver. Raises InputError where it failed."""
    status, *values = answer
    if _name(status) != "CUDA_SUCCESS":
        raise InputError(f"GPU: the NVIDIA driver does not answer ({_name(status)}); check nvidia-smi")
    return values[0]


def _name(status: Any) -> str:
    return str(getattr(status, "name", status))
