"""What manifest.json of a bundle says: plain structs, the same for the writer and for the reader on the device."""

from __future__ import annotations

import msgspec

from rep_edge.signals import Modality, WindowSpec

SCHEMA_VERSION = 1
"""Raised whenever an older runtime could misread a newer manifest."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the manifest's parts. Unknown keys are ignored: the schema version guards their meaning."""


class FileRecord(Entry, frozen=True, kw_only=True):
    """One file of the bundle: path relative to the manifest ("/" between parts), size in bytes, sha256 as hex."""

    path: str
    size: int
    sha256: str


class ParityRecord(Entry, frozen=True, kw_only=True):
    """How far a graph is from the trained model: the largest absolute difference of a probability.

    windows: windows compared; max_abs_error over all of them; by_kind: the same per kind of window ("real", "zeros",
    "clipped", "huge", "tiny"); tolerance: the limit that the export held it to.
    """

    windows: int
    max_abs_error: float
    by_kind: dict[str, float]
    tolerance: float


class GraphRecord(Entry, frozen=True, kw_only=True):
    """One graph: live modalities joined by "+", precision ("fp32"), file and how it compares with the model."""

    pattern: str
    precision: str
    file: FileRecord
    parity: ParityRecord


class Provenance(Entry, frozen=True, kw_only=True):
    """Where a bundle comes from: what to look at first when two bundles disagree.

    versions: of the packages that trained and exported; git_revision: "" outside a repository, "+changes" appended
    when the tree was dirty; created: UTC, ISO 8601.
    """

    created: str
    versions: dict[str, str]
    dataset: str
    memory: str
    seed: int
    git_revision: str = ""


class Manifest(Entry, frozen=True, kw_only=True):
    """A whole bundle.

    modalities, hop_s: the windows that the graphs take; labels: names of the logits, in order.
    graphs: one per (pattern, precision); weights: precision to the external-data file its graphs share.
    temperatures: pattern to the divisor of its logits before the softmax (1.0: as trained).
    """

    schema_version: int
    modalities: tuple[Modality, ...]
    hop_s: float
    labels: tuple[str, ...]
    graphs: tuple[GraphRecord, ...]
    weights: dict[str, FileRecord]
    temperatures: dict[str, float]
    provenance: Provenance

    @property
    def spec(self) -> WindowSpec:
        """The windows as every other room knows them."""
        return WindowSpec(modalities=self.modalities, hop_s=self.hop_s)
