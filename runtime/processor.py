"""The processor, and whether it multiplies int8 faster than float32."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
INT8 = {
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "i8mm": "int8 matrix products",
    "asimddp": "int8 dot products",
}
"""Flag of the processor -> what it is called."""


def fast_int8() -> str | None:
    """The instructions for int8 products that this processor has, None for none or where the system does not tell."""
    flags = set((_told("flags") or _told("Features") or "").split())
    return next((name for flag, name in INT8.items() if flag in flags), None)


def int8_saturates() -> bool:
    """Whether int8 products come out wrong where they are computed as such.

    x86 before VNNI adds two products in 16 bits, which the largest exceed; ONNX Runtime's page on quantisation says so.
    """
    return platform.machine() in ("x86_64", "AMD64") and fast_int8() is None


def processor_name() -> str:
    """What the processor is called where the system tells it, otherwise its architecture."""
    return _told("model name") or _told("Model") or platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _told(wanted: str) -> str | None:
    """The first value of a key in the system's file."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == wanted:
            return value.strip()
    return None
