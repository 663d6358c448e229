"""A bundle gets fp16 and int8 graphs and honest confidence; it is written only when all of it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx

from rep_edge.calibration.adversarial import adversarial_windows
from rep_edge.calibration.confidence import (
    Answers,
    choose_temperature,
    confidence_record,
    limit_reached,
)
from rep_edge.calibration.conformal import label_set_record
from rep_edge.calibration.drift import LayerDrift
from rep_edge.calibration.graphs import logits, read_graph
from rep_edge.calibration.int8 import METHODS
from rep_edge.calibration.precision import TOLERANCE, Calibrated, Material, calibrate_fp16, calibrate_int8
from rep_edge.calibration.search import Tell
from rep_edge.calibration.weights import share_weights
from rep_edge.calibration.windows import LabelledWindows, WindowSource, check_source, draw_windows, gather
from rep_edge.runtime.amendment import amend, free_path
from rep_edge.runtime.bundle import Bundle, file_record
from rep_edge.runtime.manifest import (
    CalibrationRecord,
    ConfidenceRecord,
    GraphRecord,
    LabelSetRecord,
    Manifest,
    ParityRecord,
    PrecisionRecord,
)

MOST = 4000
"""Validation and test windows that are used at the most; two seconds of sound take 64 kB each ..."""
LARGEST = 1 << 30
"""... and a picture 600 kB: bytes that those of one side may take in memory."""


class Sides(NamedTuple):
    """The data. train: activation ranges and sensitivities; validation: losses and temperatures; test: nothing is
    fitted on it, it says how honest the confidence is. dataset: its name."""

    train: WindowSource
    validation: WindowSource
    test: WindowSource
    dataset: str


class CalibrationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """precisions: to make, of "fp16" and "int8"; methods: of activation ranges, to choose from; budget: share of the
    validation windows that may be lost per pattern; windows: training windows per pattern; coverage: of label sets,
    None for none; seed: of the draw."""

    precisions: tuple[str, ...] = ("fp16", "int8")
    methods: tuple[str, ...] = METHODS
    budget: float = 0.005
    windows: int = 256
    coverage: float | None = None
    seed: int = 0


class Outcome(NamedTuple):
    """The calibrated bundle, and what people want to look at: answers on test windows and the drift of each layer."""

    bundle: Bundle
    test: dict[str, Answers]
    drift: dict[tuple[str, str], list[LayerDrift]]


class _Confidence(NamedTuple):
    temperatures: dict[str, float]
    records: dict[str, ConfidenceRecord]
    label_sets: LabelSetRecord | None
    test: dict[str, Answers]


def calibrate(
    bundle: Bundle, sides: Sides, settings: CalibrationSettings, versions: Mapping[str, str], tell: Tell
) -> Outcome:
    """Calibrate every pattern of a verified bundle and amend it.

    versions: of the packages at work, for provenance. Graphs of a precision that is made anew replace the older ones,
    and engines that were built of those are taken out. Raises InputError for data that do not fit the bundle.
    """
    for side in (sides.train, sides.validation, sides.test):
        check_source(side, bundle.manifest)
    spec = bundle.manifest.spec
    names = {spec.pattern_name(pattern): [n for n in spec.names if n in pattern] for pattern in spec.patterns()}
    validation, recordings = _all_of(sides.validation)
    test, _ = _all_of(sides.test)
    graphs = {pattern: read_graph(bundle, pattern, "fp32") for pattern in names}
    confidence = _fit_confidence(graphs, names, validation, recordings, test, settings, tell)
    drawn = {
        pattern: draw_windows(sides.train, live, settings.windows, settings.seed) for pattern, live in names.items()
    }
    adversarial = adversarial_windows(spec, settings.seed)
    made: dict[tuple[str, str], Calibrated] = {}
    for pattern, live in names.items():
        kinds = {kind: {name: values[name] for name in live} for kind, values in adversarial.items()}
        material = Material(drawn[pattern], validation.only(live), kinds)
        for precision in settings.precisions:
            tell(f"{pattern}: {precision}")
            made[pattern, precision] = _convert(graphs[pattern], precision, material, settings, tell)
    record = CalibrationRecord(
        dataset=sides.dataset,
        windows={pattern: len(windows.targets) for pattern, windows in drawn.items()},
        sha256={pattern: windows.sha256 for pattern, windows in drawn.items()},
        seed=settings.seed,
        versions=dict(versions),
    )
    manifest = msgspec.structs.replace(
        bundle.manifest,
        temperatures=confidence.temperatures,
        confidence=confidence.records,
        label_sets=confidence.label_sets,
        provenance=msgspec.structs.replace(bundle.manifest.provenance, calibration=record),
    )
    amended = _with_graphs(bundle, manifest, made, settings)
    return Outcome(amended, confidence.test, {key: calibrated.drift for key, calibrated in made.items()})


def _all_of(source: WindowSource) -> tuple[LabelledWindows, list[str]]:
    """All windows of a side, or as many as memory is to hold, spread over it; and the recording of each."""
    window = sum(m.blank().nbytes for m in source.spec.modalities)
    count = min(len(source), MOST, max(1, LARGEST // window))
    rows = np.linspace(0, len(source) - 1, count).astype(int).tolist()
    return gather(source, source.spec.names, rows), [source.recordings[row] for row in rows]


def _convert(
    graph: onnx.ModelProto, precision: str, material: Material, settings: CalibrationSettings, tell: Tell
) -> Calibrated:
    if precision == "fp16":
        return calibrate_fp16(graph, material, settings.budget, tell)
    return calibrate_int8(graph, material, settings.budget, settings.methods, tell)


def _fit_confidence(
    graphs: Mapping[str, onnx.ModelProto],
    names: Mapping[str, Sequence[str]],
    validation: LabelledWindows,
    recordings: Sequence[str],
    test: LabelledWindows,
    settings: CalibrationSettings,
    tell: Tell,
) -> _Confidence:
    """One temperature for each pattern, left at 1 where the validation windows cannot tell that another is better."""
    fitted: dict[str, Answers] = {}
    tested: dict[str, Answers] = {}
    temperatures, records = {}, {}
    for pattern, live in names.items():
        for windows, into in ((validation, fitted), (test, tested)):
            into[pattern] = Answers(logits(graphs[pattern], windows.only(live).values), windows.targets)
        chosen = choose_temperature(*fitted[pattern], recordings, settings.seed)
        temperatures[pattern] = chosen.temperature
        records[pattern] = confidence_record(*tested[pattern], temperatures[pattern])
        before, after = 100 * records[pattern].ece_before, 100 * records[pattern].ece_after
        found = f"{pattern}: temperature {chosen.best:.2f} (resampled {chosen.low:.2f} to {chosen.high:.2f})"
        if chosen.temperature == 1:
            tell(f"{found} cannot be told from 1: left as trained, calibration error {before:.1f} % on test windows")
        else:
            tell(f"{found}: calibration error on test windows {before:.1f} % before and {after:.1f} % after")
        if note := limit_reached(chosen.best):
            tell(f"{pattern}: {note}")
    coverage = settings.coverage
    sets = None if coverage is None else label_set_record(coverage, temperatures, fitted, tested)
    return _Confidence(temperatures, records, sets, tested)


def _with_graphs(
    bundle: Bundle, manifest: Manifest, made: Mapping[tuple[str, str], Calibrated], settings: CalibrationSettings
) -> Bundle:
    """The bundle on disk with the graphs made, and the rest of the manifest as given."""
    files: dict[str, bytes] = {}
    weights = dict(manifest.weights)
    graphs = [graph for graph in manifest.graphs if (graph.pattern, graph.precision) not in made]
    for precision in dict.fromkeys(precision for _, precision in made):
        of_precision = {pattern: calibrated for (pattern, found), calibrated in made.items() if found == precision}
        path, blob = _share(bundle, precision, [calibrated.model for calibrated in of_precision.values()])
        files[path], weights[precision] = blob, file_record(path, blob)
        for pattern, calibrated in of_precision.items():
            content = calibrated.model.SerializeToString()
            path = free_path(bundle, f"graphs/{pattern}.{precision}.onnx", content)
            files[path] = content
            graphs.append(
                GraphRecord(
                    pattern=pattern,
                    precision=precision,
                    file=file_record(path, content),
                    parity=_parity(calibrated, precision),
                )
            )
    known = {graph.file.sha256 for graph in graphs}
    older = [record for record in manifest.precisions if (record.pattern, record.precision) not in made]
    amended = msgspec.structs.replace(
        manifest,
        graphs=tuple(graphs),
        weights=weights,
        precisions=(*older, *(_precision(*key, calibrated, settings) for key, calibrated in made.items())),
        engines=tuple(engine for engine in manifest.engines if engine.graph_sha256 in known),
    )
    return amend(bundle, files, amended)


def _share(bundle: Bundle, precision: str, models: Sequence[onnx.ModelProto]) -> tuple[str, bytes]:
    """Move the weights of all models into one file; its path and content."""
    usual = f"graphs/weights.{precision}.bin"
    copies = [onnx.ModelProto.FromString(model.SerializeToString()) for model in models]
    path = free_path(bundle, usual, share_weights(copies, Path(usual).name))
    return path, share_weights(models, Path(path).name)


def _parity(calibrated: Calibrated, precision: str) -> ParityRecord:
    errors = calibrated.judgement.errors
    return ParityRecord(
        windows=calibrated.judgement.windows,
        max_abs_error=max(errors.values()),
        by_kind=errors,
        tolerance=TOLERANCE[precision],
    )


def _precision(pattern: str, precision: str, calibrated: Calibrated, settings: CalibrationSettings) -> PrecisionRecord:
    judgement = calibrated.judgement
    return PrecisionRecord(
        pattern=pattern,
        precision=precision,
        method=calibrated.method,
        accuracy=judgement.accuracy,
        accuracy_fp32=judgement.accuracy_fp32,
        agreement=judgement.agreement,
        windows=judgement.windows,
        budget=settings.budget,
        converted=calibrated.converted,
        kept=calibrated.kept,
    )
