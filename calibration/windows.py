"""Windows that calibration works on: drawn by class, for each pattern anew, and known by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import Example, Modality, Stream, WindowSpec

Values = Mapping[str, Example]
"""Modality -> [n, *shape]."""


class Sample(Protocol):
    """One labelled window: modality -> array of its shape."""

    @property
    def values(self) -> dict[str, Example]: ...


class WindowSource(Protocol):
    """One side of a data set, labelled. targets: int64 [n]; recordings: the recording of each window."""

    @property
    def spec(self) -> WindowSpec: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> NDArray[np.int64]: ...
    @property
    def recordings(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


class LabelledWindows(NamedTuple):
    """Windows in memory. values: modality -> [n, *shape]; targets: int64 [n]."""

    values: dict[str, Example]
    targets: NDArray[np.int64]

    def only(self, names: Sequence[str]) -> LabelledWindows:
        """The same windows with these modalities alone."""
        return LabelledWindows({name: self.values[name] for name in names}, self.targets)

    @property
    def sha256(self) -> str:
        """Of names, samples and labels, as hex."""
        digest = hashlib.sha256()
        for name, values in self.values.items():
            digest.update(f"{name} {values.shape} ".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(self.targets.tobytes())
        return digest.hexdigest()


def check_source(source: WindowSource, manifest: Manifest) -> None:
    """Raises InputError where the bundle cannot be calibrated, where the data are not of the kind that it was made for,
    and where a class has no windows."""
    check_task(manifest)
    check_modalities(source.spec, manifest)
    if source.labels != manifest.labels:
        raise InputError(
            f"calibration data: has the classes {', '.join(source.labels)} and the bundle "
            f"{', '.join(manifest.labels)}; give the data that the model was trained on"
        )
    for label, count in zip(source.labels, np.bincount(source.targets, minlength=len(source.labels)), strict=True):
        if not count:
            raise InputError(f"calibration data: class {label} has no windows; add recordings of it")


def check_task(manifest: Manifest) -> None:
    """Raises InputError for a bundle that does not choose one class: temperatures and losses are those of classes."""
    if manifest.task != "multiclass":
        raise InputError(f"{manifest.task} bundles cannot be calibrated: it is for models that choose one class")


def check_modalities(spec: WindowSpec, manifest: Manifest) -> None:
    """Raises InputError where data of `spec` are not the windows that the bundle's graphs take."""
    known = {m.name: m for m in spec.modalities}
    for m in manifest.modalities:
        if m.name not in known:
            raise InputError(f"calibration data: has no {m.name}; give data with {', '.join(manifest.spec.names)}")
        found = known[m.name]
        if (found.shape, found.dtype, _rate(found)) != (m.shape, m.dtype, _rate(m)):
            raise InputError(
                f"calibration data: {m.name} has windows of {list(found.shape)}{_rate(found)} and the bundle takes "
                f"{list(m.shape)}{_rate(m)}; give the data that the model was trained on"
            )
        if not (isinstance(found, Stream) and isinstance(m, Stream)) and found != m:
            raise InputError(
                f"calibration data: {m.name} is prepared in another way than the bundle's, as its kind, ids or colours "
                "say; give the data that the model was trained on"
            )


def _rate(modality: Modality) -> str:
    return f" at {modality.rate_hz:g} Hz" if isinstance(modality, Stream) else ""


def draw_windows(source: WindowSource, names: Sequence[str], count: int, seed: int) -> LabelledWindows:
    """`count` windows of the named modalities, each class as often as the others as far as it reaches.

    Which ones are drawn depends on the seed and on the names, so that every pattern sees others. In the source's order.
    """
    rng = np.random.default_rng([seed, *"+".join(names).encode()])
    classes = len(source.labels)
    shuffled = [rng.permutation(np.flatnonzero(source.targets == label)) for label in range(classes)]
    rounds = max(map(len, shuffled))
    in_turn = [int(rows[i]) for i in range(rounds) for rows in shuffled if i < len(rows)]
    return gather(source, names, sorted(in_turn[:count]))


def gather(source: WindowSource, names: Sequence[str], rows: Sequence[int]) -> LabelledWindows:
    """The windows in these rows, in memory."""
    spec = source.spec
    values = {name: np.empty((len(rows), *spec[name].shape), spec[name].dtype) for name in names}
    for i, row in enumerate(rows):
        window = source[row].values
        for name in names:
            values[name][i] = window[name]
    return LabelledWindows(values, np.asarray(source.targets)[list(rows)])
