"""The GPU, through a stand-in for CUDA's driver: what it is, and each way of not having one told apart."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.engines import gpu
from rep_edge.runtime.engines.gpu import Gpu, find_gpu

VERSION_FILE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs)  Sun Jul\nGCC version:\n"
)
JETSON_FILE = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (build@host)\n"


class Status(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_STUB_LIBRARY = 34
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803
    CUDA_ERROR_UNKNOWN = 999


OK = Status.CUDA_SUCCESS


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A driver of one GPU, installed as cuda.bindings; tests change its answers."""
    kinds = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
    )
    capability = {"major": 12, "minor": 0}
    fake = ModuleType("cuda.bindings.driver")
    vars(fake).update(
        CUdevice_attribute=kinds,
        cuInit=lambda flags: (OK,),
        cuDriverGetVersion=lambda: (OK, 13010),
        cuDeviceGetCount=lambda: (OK, 2),
        cuDeviceGet=lambda index: (OK, index),
        cuDeviceGetName=lambda size, device: (OK, b"NVIDIA RTX PRO 2000".ljust(size, b"\0")),
        cuDeviceGetAttribute=lambda kind, device: (OK, capability[kind]),
        cuDeviceTotalMem=lambda device: (OK, 16 << 30),
    )
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    vars(bindings).update(__version__="13.5.0", driver=fake)
    vars(package).update(bindings=bindings)
    for module in (package, bindings, fake):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "version").write_text(VERSION_FILE)
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "version")
    return fake


def test_the_first_gpu_is_described(driver: Any) -> None:
    assert find_gpu() == Gpu("NVIDIA RTX PRO 2000", "sm120", "580.65.06, CUDA 13.1", 16 << 30)


def test_the_driver_of_a_jetson_is_read(driver: Any) -> None:
    gpu.DRIVER.write_text(JETSON_FILE)
    assert find_gpu().driver == "540.4.0, CUDA 13.1"


@pytest.mark.parametrize("content", [None, "", "GCC version: 13.3.0"])
def test_without_the_drivers_own_version_cudas_is_told(driver: Any, content: str | None) -> None:
    gpu.DRIVER.unlink() if content is None else gpu.DRIVER.write_text(content)
    assert find_gpu().driver == "CUDA 13.1"


def test_no_driver_is_told(driver: Any) -> None:
    def absent(flags: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    driver.cuInit = absent
    with pytest.raises(InputError, match=r"^GPU: no NVIDIA driver is installed here; install it"):
        find_gpu()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (Status.CUDA_ERROR_NO_DEVICE, "the NVIDIA driver shows none"),
        (Status.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "its driver is too old"),
        (Status.CUDA_ERROR_STUB_LIBRARY, "libcuda is a stub"),
        (Status.CUDA_ERROR_UNKNOWN, r"does not start \(CUDA_ERROR_UNKNOWN\)"),
    ],
)
def test_each_failure_of_the_driver_has_its_own_line(driver: Any, status: Status, told: str) -> None:
    driver.cuInit = lambda flags: (status,)
    with pytest.raises(InputError, match=rf"^GPU: .*{told}"):
        find_gpu()


def test_no_device_without_an_error_is_told_too(driver: Any) -> None:
    driver.cuDeviceGetCount = lambda: (OK, 0)
    with pytest.raises(InputError, match="shows none; check nvidia-smi and CUDA_VISIBLE_DEVICES"):
        find_gpu()


def test_a_driver_older_than_the_installed_cuda_is_told_with_both_ways_out(driver: Any) -> None:
    driver.cuDriverGetVersion = lambda: (OK, 12060)
    with pytest.raises(InputError, match=r'up to CUDA 12\.6, and cuda-bindings 13\.5\.0 .*"cuda-bindings<13"$'):
        find_gpu()


def test_a_call_that_fails_later_is_told(driver: Any) -> None:
    driver.cuDeviceTotalMem = lambda device: (Status.CUDA_ERROR_UNKNOWN, 0)
    with pytest.raises(InputError, match=r"does not answer \(CUDA_ERROR_UNKNOWN\)"):
        find_gpu()


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(MissingExtraError, match="cuda-bindings"):
        find_gpu()


def test_here_without_a_driver_the_real_package_gives_one_line() -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a driver")
    with pytest.raises(InputError, match="no NVIDIA driver is installed here"):
        find_gpu()
