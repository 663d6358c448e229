"""What a measurement was made on, so that nobody compares figures of different machines unawares."""

from __future__ import annotations

import platform

from rep_edge.provenance import package_versions
from rep_edge.runtime.processor import cores, processor_name


def describe_machine() -> dict[str, str | int]:
    """Processor, cores this process may use, operating system, Python, and the versions of what computes."""
    versions = {f"{name} version": v for name, v in package_versions("torch", "onnxruntime", "numpy").items()}
    return {
        "processor": processor_name(),
        "cores": cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **versions,
    }
