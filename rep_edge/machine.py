"""What a measurement was made on, so that nobody compares figures of different machines unawares."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from rep_edge.provenance import package_versions


def describe_machine() -> dict[str, str | int]:
    """Processor, cores this process may use, operating system, Python, and the versions of what computes."""
    versions = {f"{name} version": v for name, v in package_versions("torch", "onnxruntime", "numpy").items()}
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()
