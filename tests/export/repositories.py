"""Toy bundles and their Triton model repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bundles import PAIR, TRIPLE, make_bundle, random_windows
from numpy.typing import NDArray

from rep_edge.export.triton import Serving, export_repository
from rep_edge.signals import WindowSpec

TEMPERATURES = {
    spec.pattern_name(pattern): 0.5 + 0.3 * number
    for spec in (PAIR, TRIPLE)
    for number, pattern in enumerate(spec.patterns())
}
Windows = dict[str, NDArray[np.float32]]


def quiet(_: str) -> None:
    pass


def export(folder: Path, spec: WindowSpec = TRIPLE, **serving: Any) -> tuple[Path, Path]:
    """A toy bundle with a temperature of its own for every pattern, and its repository."""
    names = {spec.pattern_name(pattern) for pattern in spec.patterns()}
    bundle = make_bundle(folder / "bundle", spec, {name: TEMPERATURES[name] for name in names})
    export_repository(bundle, folder / "repository", Serving(**serving), quiet)
    return bundle, folder / "repository"


def batch(spec: WindowSpec, names: Any, count: int, seed: int = 0) -> Windows:
    drawn = [random_windows(spec, seed + i) for i in range(count)]
    return {m.name: np.stack([window[m.name] for window in drawn]) for m in spec.modalities if m.name in names}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
