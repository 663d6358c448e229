"""Disk, permission and memory for a build, asked for before it and not during it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle

MEMORY = Path("/proc/meminfo")
"""Where Linux tells how much memory can be had without swapping."""
SPARE = 64 << 20
"""Bytes that stay free on the disk."""
PLAN = 2
"""How many times the weights file a plan takes at most ..."""
KERNELS = 32 << 20
"""... and for its kernels, in bytes (19 MB were the most seen)."""
BUILDER = 512 << 20
"""Bytes that a builder takes for itself (0.3 GB seen) ..."""
BUILDER_WEIGHTS = 8
"""... and how many times the weights on top (7 seen)."""


def plan_bytes(bundle: Bundle, precision: str) -> int:
    """What the plan of one graph takes at most."""
    return PLAN * bundle.manifest.weights[precision].size + KERNELS


def require_room(bundle: Bundle, precisions: Iterable[str], folder: Path, engines: int, held: int) -> None:
    """Raises InputError where `folder` cannot be written, its disk cannot take the engines of every precision, or the
    memory cannot take a build.

    engines: of each precision; held: how many of those are held in memory before any is written.
    """
    sizes = [plan_bytes(bundle, precision) for precision in precisions]
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise InputError(f"{folder}: cannot be written; change its permissions or choose another folder")
    needed, free = engines * sum(sizes) + SPARE, shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(f"{folder}: has {_mb(free)} of disk left and {_mb(needed)} are needed; free space")
    heaviest = max(bundle.manifest.weights[precision].size for precision in precisions)
    memory, there = held * sum(sizes) + BUILDER + BUILDER_WEIGHTS * heaviest, available_memory()
    if there is not None and there < memory:
        raise InputError(
            f"memory: {_mb(there)} are free and this needs {_mb(memory)}; close other programs or compile fewer"
        )


def available_memory() -> int | None:
    """Bytes of memory that can be had; None where the system does not tell."""
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB", MEMORY.read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
