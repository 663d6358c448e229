"""What an engine is built for: one compute capability, or several where the library can."""

from __future__ import annotations

import re
from typing import Any

from rep_edge.errors import InputError
from rep_edge.runtime.engines.gpu import find_gpu
from rep_edge.runtime.engines.library import TensorRT

AMPERE_PLUS = "sm80+"
"""Every GPU from Ampere on: what `tensorrt` calls hardware compatible."""


def offered_targets(library: TensorRT) -> tuple[str, ...]:
    """What a library can build engines for here: "sm89", "sm80+".

    tensorrt-rtx builds for GPUs that are not there; tensorrt measures on the GPU that is there.
    Raises InputError where tensorrt finds none.
    """
    if library.backend == "tensorrt-rtx":
        names = [name for name in library.module.ComputeCapability.__members__ if re.fullmatch(r"SM\d+", name)]
        return tuple(sorted((name.lower() for name in names), key=_number))
    return (find_gpu().compute_capability, AMPERE_PLUS)


def require_target(library: TensorRT, target: str) -> None:
    """Raises InputError, with the list of what there is, where a library cannot build for a target."""
    offered = offered_targets(library)
    if target not in offered:
        raise InputError(
            f"{target}: is no target of {library.backend} {library.version} here; choose among {', '.join(offered)}"
        )


def require_version_compatible(library: TensorRT) -> None:
    """Raises InputError where a library has no engines that its later versions run."""
    if library.backend != "tensorrt":
        raise InputError(
            f"{library.backend} {library.version}: has no version-compatible engines; leave --version-compatible out "
            "and compile again after an update"
        )


def aim(library: TensorRT, config: Any, target: str | None) -> None:
    """Make a builder's configuration build for a target; None: for the GPU of this machine alone."""
    module = library.module
    if library.backend == "tensorrt-rtx":
        capability = getattr(module.ComputeCapability, "CURRENT" if target is None else target.upper())
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)
    elif target == AMPERE_PLUS:
        config.hardware_compatibility_level = module.HardwareCompatibilityLevel.AMPERE_PLUS
    elif target is not None and hasattr(module.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY"):
        config.hardware_compatibility_level = module.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY


def fits_gpu(built_for: str, compute_capability: str) -> bool:
    """Whether an engine built for a target runs on a GPU."""
    if built_for.endswith("+"):
        return _number(compute_capability) >= _number(built_for)
    return built_for == compute_capability


def fits_version(built_by: str, version: str) -> bool:
    """Whether an engine runs in a version of the library that built it: the same, or for "10.3.0.26+" a later one of
    the same major version."""
    if not built_by.endswith("+"):
        return built_by == version
    built, here = _parts(built_by), _parts(version)
    return built[:1] == here[:1] and built <= here


def _number(target: str) -> int:
    return int(re.sub(r"\D", "", target) or 0)


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
