"""The commands of the device: inspect, classify, stream."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rep_edge.runtime.bundle import Bundle
    from rep_edge.runtime.classifier import Classifier, Prediction

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
    """Classify recordings window by window, as fast as possible, and sum up."""
    _run(bundle, source, None, Speed.max, json)


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
    """Play recordings as a live stream that may lose its sensors; one line a window."""
    _run(bundle, source, drop, speed, json)


def _run(path: Path, source: list[str] | None, drop: str | None, speed: Speed, json: bool) -> None:
    from rep_edge.runtime.classifier import Classifier
    from rep_edge.runtime.replay import Replay, parse_drops
    from rep_edge.runtime.sources.address import open_sources
    from rep_edge.runtime.streaming import StreamingClassifier

    classifier = Classifier.load(path)
    drops = parse_drops(drop, classifier.spec)
    recordings = open_sources(source or [], classifier.spec)
    replay = Replay(recordings, classifier.spec)
    for name in classifier.spec.names:
        if name in recordings:
            _tell(f"{name}: {recordings[name].length_s:.1f} s, {recordings[name].note}")
        else:
            _tell(f"{name}: no source given, missing from the start")
    if not json:
        print(f"{'time':>8}    {'class':{_width(classifier)}} sure   live sensors, latency", flush=True)
    lost: Mapping[str, object] = dict.fromkeys(name for name in classifier.spec.names if name not in recordings)
    counted: Counter[tuple[str, str | None]] = Counter()
    for prediction in replay.play(StreamingClassifier(classifier), drops, real_time=speed is Speed.real):
        lost = _tell_changes(lost, prediction)
        _show(prediction, json, _width(classifier))
        counted[prediction.pattern, prediction.label] += 1
    _sum_up(counted)


def _width(classifier: Classifier) -> int:
    return max(map(len, classifier.labels))


def _show(prediction: Prediction, json: bool, width: int) -> None:
    """The window's line: "12.0 s  Truck  0.93  acoustic+seismic  4.1 ms"; its time is that of its end."""
    import msgspec

    if json:
        print(msgspec.json.encode(prediction).decode(), flush=True)
        return
    when = f"{prediction.end_s:8.1f} s"
    if prediction.label is None:
        print(f"{when}  {'-':{width}}    -   no sensor is live", flush=True)
        return
    sure = prediction.probabilities[prediction.label]
    latency = f"{1e3 * prediction.latency_s:.1f} ms"
    print(f"{when}  {prediction.label:{width}} {sure:.2f}   {prediction.pattern}  {latency}", flush=True)


def _tell_changes(lost: Mapping[str, object], prediction: Prediction) -> Mapping[str, object]:
    """A line for every sensor that is newly lost or live again; which are lost now."""
    when = f"{prediction.end_s:.1f} s"
    for name, reason in prediction.reasons.items():
        if name not in lost:
            _tell(f"{when}: {name} lost: {reason}")
    for name in lost:
        if name not in prediction.reasons:
            _tell(f"{when}: {name} is live again")
    return prediction.reasons


def _sum_up(counted: Counter[tuple[str, str | None]]) -> None:
    """How many windows each set of live sensors decided, and for which classes."""
    _tell(f"{sum(counted.values())} windows:")
    for pattern in dict.fromkeys(pattern for pattern, _ in counted):
        labels = Counter({label: count for (found, label), count in counted.items() if found == pattern})
        if pattern:
            listed = ", ".join(f"{label} {count}" for label, count in labels.most_common())
            _tell(f"  {pattern}: {labels.total()} windows: {listed}")
        else:
            _tell(f"  no sensor live: {labels.total()} windows")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


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
