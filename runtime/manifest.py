"""What manifest.json of a bundle says: plain structs, the same for the writer and for the reader on the device."""

from __future__ import annotations

from typing import Literal

import msgspec

from rep_edge.signals import Modality, WindowSpec

SCHEMA_VERSION = 2
"""Raised whenever an older runtime could misread a newer manifest. 2: modalities have a kind, and there are tasks."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the manifest's parts. Unknown keys are ignored: the schema version guards their meaning."""


class FileRecord(Entry, frozen=True, kw_only=True):
    """One file of the bundle: path relative to the manifest ("/" between parts), size in bytes, sha256 as hex."""

    path: str
    size: int
    sha256: str


class ParityRecord(Entry, frozen=True, kw_only=True):
    """How far a graph is from the trained model: the largest absolute difference of a probability (or of a value).

    windows: windows compared; max_abs_error over all of them; by_kind: the same per kind of window ("real", "zeros",
    "clipped", "huge", "tiny"); tolerance: the limit that the export held it to.
    """

    windows: int
    max_abs_error: float
    by_kind: dict[str, float]
    tolerance: float


class GraphRecord(Entry, frozen=True, kw_only=True):
    """One graph: live modalities joined by "+", precision ("fp32", "fp16", "int8"), file, and how far it is from what
    it was made of: the trained model for fp32, the fp32 graph for the others."""

    pattern: str
    precision: str
    file: FileRecord
    parity: ParityRecord


class LayerRecord(Entry, frozen=True, kw_only=True):
    """A layer that stayed in fp32: its node's name, its operator, and why."""

    name: str
    operator: str
    reason: str


class PrecisionRecord(Entry, frozen=True, kw_only=True):
    """How the graph of one pattern and precision was made, and what it costs on the validation windows.

    method: of the activation ranges ("minmax", "entropy", "percentile"; "" for fp16). accuracy, accuracy_fp32: shares
    right; windows: validation windows; agreement: share of windows with the label that fp32 gives; budget: the loss
    allowed. converted: how many layers compute in this precision; kept: those that do not.
    """

    pattern: str
    precision: str
    method: str
    accuracy: float
    accuracy_fp32: float
    agreement: float
    windows: int
    budget: float
    converted: int
    kept: tuple[LayerRecord, ...]


class ConfidenceRecord(Entry, frozen=True, kw_only=True):
    """How honest the probabilities of one pattern are on windows that nothing was fitted on.

    windows: test windows; ece_before, ece_after: expected calibration error at temperature 1 and at the fitted one.
    accuracy, confidence: share right and mean top probability at the fitted temperature.
    """

    windows: int
    ece_before: float
    ece_after: float
    accuracy: float
    confidence: float


class LabelSetRecord(Entry, frozen=True, kw_only=True):
    """Split-conformal label sets: the classes of a window are those whose probability reaches a threshold.

    coverage: share of windows whose set is to hold the true class; thresholds: pattern -> lowest probability in a set;
    covered: pattern -> share found on test windows; size: pattern -> mean labels in a set there.
    """

    coverage: float
    thresholds: dict[str, float]
    covered: dict[str, float]
    size: dict[str, float]


class CalibrationRecord(Entry, frozen=True, kw_only=True):
    """What calibration was done on: which windows, so that it can be done again.

    dataset: the data's name; windows: pattern -> how many training windows gave the activation ranges; sha256: pattern
    -> of their samples; seed: of the draw; versions: of the packages.
    """

    dataset: str
    windows: dict[str, int]
    sha256: dict[str, str]
    seed: int
    versions: dict[str, str]


class HealthRecord(Entry, frozen=True, kw_only=True):
    """What the training windows of one modality are like, so that a device can tell a sensor that has become strange.

    windows: healthy windows looked at; the rest in the modality's unit, over all channels, without the last percent on
    either side. noise_low, noise_high: RMS of the quietest quarter of a window, means taken off. mean_low, mean_high:
    means. largest: largest magnitude of a sample; clipped: largest share, 0 to 1, of samples at the lowest
    or highest value; stuck_s: longest run of one value, in s.
    """

    windows: int
    noise_low: float
    noise_high: float
    mean_low: float
    mean_high: float
    largest: float
    clipped: float
    stuck_s: float


class EngineRecord(Entry, frozen=True, kw_only=True):
    """A TensorRT engine that was built ahead of time and travels in the bundle.

    file: the raw plan; graph_sha256: of the ONNX graph it was built of; backend: "tensorrt" or "tensorrt-rtx";
    backend_version: as the package tells it, with "+" where later versions of the same major run it too;
    compute_capability: "sm89", or "sm80+" for every GPU from there on; batch: least, usual and largest batch.
    """

    pattern: str
    precision: str
    file: FileRecord
    graph_sha256: str
    backend: str
    backend_version: str
    compute_capability: str
    batch: tuple[int, int, int]


class Provenance(Entry, frozen=True, kw_only=True):
    """Where a bundle comes from: what to look at first when two bundles disagree.

    versions: of the packages that trained and exported; git_revision: "" outside a repository, "+changes" appended
    when the tree was dirty; created: UTC, ISO 8601; calibration: what `rep-edge calibrate` used.
    """

    created: str
    versions: dict[str, str]
    dataset: str
    memory: str
    seed: int
    git_revision: str = ""
    calibration: CalibrationRecord | None = None


class Manifest(Entry, frozen=True, kw_only=True):
    """A whole bundle.

    modalities, hop_s: the windows that the graphs take (hop_s 0: examples that stand alone). task: what the output is:
    logits of "multiclass" or "multilabel" labels, or the value of a "regression", whose two labels name the sides of
    zero. labels: names of the logits, in order. tokenizers: text modality to the tokenizer.json that makes its windows.
    trimmed: texts whose windows the graphs take cut behind the end as well, with the same answer in less time.
    graphs: one per (pattern, precision); weights: precision to the external-data file its graphs share.
    temperatures: pattern to the divisor of its logits before the softmax (1.0: as trained). confidence: pattern to how
    honest that makes it; label_sets: None where none were asked for. precisions: one for each graph that is not fp32.
    engines: built ahead of time. health: modality to what its training windows are like, where they could be looked at.
    """

    schema_version: int
    modalities: tuple[Modality, ...]
    hop_s: float
    labels: tuple[str, ...]
    graphs: tuple[GraphRecord, ...]
    weights: dict[str, FileRecord]
    temperatures: dict[str, float]
    provenance: Provenance
    precisions: tuple[PrecisionRecord, ...] = ()
    confidence: dict[str, ConfidenceRecord] = {}
    label_sets: LabelSetRecord | None = None
    engines: tuple[EngineRecord, ...] = ()
    health: dict[str, HealthRecord] = {}
    task: Literal["multiclass", "multilabel", "regression"] = "multiclass"
    tokenizers: dict[str, FileRecord] = {}
    trimmed: tuple[str, ...] = ()

    @property
    def graph_precisions(self) -> tuple[str, ...]:
        """Precisions that there are graphs in."""
        return tuple(dict.fromkeys(graph.precision for graph in self.graphs))

    @property
    def outputs(self) -> int:
        """Width of a graph's output: a logit for each label, or one value."""
        return 1 if self.task == "regression" else len(self.labels)

    @property
    def spec(self) -> WindowSpec:
        """The windows as every other room knows them."""
        return WindowSpec(modalities=self.modalities, hop_s=self.hop_s)
