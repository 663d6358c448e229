"""The commands of the device: inspect, classify, stream."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rep_edge.runtime.bundle import Bundle
    from rep_edge.runtime.classifier import Prediction

BundlePath = Annotated[Path, typer.Argument(help="Folder that export wrote.")]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="NAME=PATH: a sensor of the bundle and its WAV, FLAC or miniSEED file. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output and nothing else there.")]


class Speed(str, Enum):
    """How fast a replay runs."""

    real = "real"
    max = "max"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(inspect)
    app.command()(classify)
    app.command()(stream)


def inspect(bundle: BundlePath, json: Json = False) -> None:
    """Verify a bundle and print what it holds, how exact it is and where it comes from."""
    import msgspec

    from rep_edge.runtime.bundle import open_bundle

    opened = open_bundle(bundle)
    if json:
        print(msgspec.json.encode(opened.manifest).decode())
        return
    _print_bundle(opened)


def classify(bundle: BundlePath, source: Sources = None, json: Json = False) -> None:
    """Classify recordings window by window and sum up."""
    predictions = list(_replay(bundle, source, None, Speed.max))
    for prediction in predictions:
        _show(prediction, json)
    if not json:
        _sum_up(predictions)


def stream(
    bundle: BundlePath,
    source: Sources = None,
    drop: Annotated[
        str | None, typer.Option("--drop", help="NAME@FROM-TO,...: seconds in which a sensor is silent.")
    ] = None,
    speed: Annotated[
        Speed, typer.Option("--speed", help="As fast as it was recorded, or as fast as possible.")
    ] = Speed.real,
    json: Json = False,
) -> None:
    """Play recordings as a live stream that may lose its sensors; one line a hop."""
    reasons: dict[str, str] = {}
    for prediction in _replay(bundle, source, drop, speed):
        _tell_changes(reasons, prediction)
        reasons = prediction.reasons
        _show(prediction, json)


def _replay(path: Path, source: list[str] | None, drop: str | None, speed: Speed) -> Iterator[Prediction]:
    from rep_edge.runtime.classifier import Classifier
    from rep_edge.runtime.replay import parse_drops, replay
    from rep_edge.runtime.sources.address import open_sources
    from rep_edge.runtime.streaming import StreamingClassifier

    classifier = Classifier.load(path)
    drops = parse_drops(drop, classifier.spec)
    recordings = open_sources(source or [], classifier.spec)
    for name in classifier.spec.names:
        if name in recordings:
            pieces = recordings[name].pieces
            seconds = sum(piece.values.shape[1] for piece in pieces) / classifier.spec[name].rate_hz
            print(f"{name}: {seconds:.1f} s, {recordings[name].note}", file=sys.stderr)
        else:
            print(f"{name}: no source, missing from the start", file=sys.stderr)
    yield from replay(StreamingClassifier(classifier), recordings, drops, real_time=speed is Speed.real)


def _show(prediction: Prediction, json: bool) -> None:
    import msgspec

    if json:
        print(msgspec.json.encode(prediction).decode(), flush=True)
        return
    time = f"{prediction.end_s:8.1f} s"
    if prediction.label is None:
        print(f"{time}  no sensor live", flush=True)
        return
    sure = prediction.probabilities[prediction.label]
    latency = f"{1e3 * prediction.latency_s:5.1f} ms"
    print(f"{time}  {prediction.label:12s} {100 * sure:5.1f} %  {latency}  from {prediction.pattern}", flush=True)


def _tell_changes(before: dict[str, str], prediction: Prediction) -> None:
    """One line on standard error whenever a sensor is lost or comes back."""
    time = f"{prediction.end_s:.1f} s"
    for name, reason in prediction.reasons.items():
        if name not in before:
            print(f"{time}: {name} lost: {reason}", file=sys.stderr)
    for name in before:
        if name not in prediction.reasons:
            print(f"{time}: {name} is live again", file=sys.stderr)


def _sum_up(predictions: list[Prediction]) -> None:
    """Which label in how many windows."""
    from collections import Counter

    counts = Counter(prediction.label for prediction in predictions if prediction.label is not None)
    if not counts:
        print("no window could be classified", file=sys.stderr)
        return
    total = sum(counts.values())
    listed = ", ".join(f"{label} {count} of {total}" for label, count in counts.most_common())
    print(f"windows: {listed}", file=sys.stderr)


def _print_bundle(bundle: Bundle) -> None:
    from rich.console import Console
    from rich.table import Table

    console, manifest = Console(), bundle.manifest
    console.print(f"{bundle.path}: verified, schema version {manifest.schema_version}", highlight=False)
    sensors = Table(title="Sensors", title_justify="left")
    for column in ("name", "rate", "window", "channels", "unit"):
        sensors.add_column(column)
    for m in manifest.modalities:
        sensors.add_row(m.name, f"{m.rate_hz:g} Hz", f"{m.window_s:g} s", str(m.channels), m.unit)
    console.print(sensors)
    console.print(f"classes: {', '.join(manifest.labels)}; a window every {manifest.hop_s:g} s", highlight=False)
    graphs = Table(title="Graphs", title_justify="left")
    for column in ("live sensors", "precision", "KB", "largest difference to the trained model", "on windows"):
        graphs.add_column(column)
    for g in manifest.graphs:
        difference = f"{g.parity.max_abs_error:.1e} (limit {g.parity.tolerance:.0e})"
        graphs.add_row(g.pattern, g.precision, f"{g.file.size / 1e3:.0f}", difference, str(g.parity.windows))
    console.print(graphs)
    for precision, weights in manifest.weights.items():
        console.print(f"weights {precision}: {weights.size / 1e6:.1f} MB, shared by its graphs", highlight=False)
    p = manifest.provenance
    console.print(f"memory: {p.memory}; data: {p.dataset}; seed {p.seed}; made {p.created}", highlight=False)
    versions = ", ".join(f"{name} {version}" for name, version in p.versions.items())
    console.print(f"source: {p.git_revision or 'no git revision'}; {versions}", highlight=False)
