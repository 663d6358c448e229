"""The commands of the device: inspect, classify, stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.runtime.classifier import Classifier
    from rep_edge.runtime.prediction import Prediction
    from rep_edge.runtime.sources.recording import Recording

BundlePath = Annotated[Path, typer.Argument(help="Folder that export wrote.")]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        help="NAME=PATH: a sensor and its WAV, FLAC or miniSEED file; image=PICTURE, text=TEXT, audio=FEATURES.npy. "
        "Repeatable.",
    ),
]
LiveSources = Annotated[
    list[str] | None,
    typer.Option("--source", help="NAME=ADDRESS: a sensor and its file, or mic:, shake:, mqtt:, ... Repeatable."),
]
Backend = Annotated[
    str, typer.Option("--backend", help="What runs the graphs; auto takes the best that starts (rep-edge doctor).")
]
Precision = Annotated[str, typer.Option("--precision", help="fp32, fp16 or int8; auto takes what suits the backend.")]
RequireGpu = Annotated[bool, typer.Option("--require-gpu", help="Fail rather than run on the CPU.")]
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

    from rep_edge.cli.inspecting import print_bundle
    from rep_edge.runtime.bundle import open_bundle

    opened = open_bundle(bundle)
    if json:
        print(msgspec.json.encode(opened.manifest).decode())
        return
    print_bundle(opened)


def classify(
    bundle: BundlePath,
    source: Sources = None,
    backend: Backend = "auto",
    precision: Precision = "auto",
    require_gpu: RequireGpu = False,
    json: Json = False,
) -> None:
    """Classify recordings window by window, or one example of images, texts and features; any may be left out."""
    from rep_edge.cli.example import classify_example
    from rep_edge.runtime.replay import Replay
    from rep_edge.runtime.sources.address import open_sources
    from rep_edge.runtime.streaming import StreamingClassifier

    classifier = _load(bundle, backend, precision, require_gpu)
    if not classifier.spec.hop_s:
        classify_example(classifier, source or [], json)
        return
    recordings = open_sources(source or [], classifier.spec)
    replay = Replay(recordings, classifier.spec)
    _tell_start(classifier, _notes(recordings))
    _print_all(replay.play(StreamingClassifier(classifier), [], real_time=False), classifier, recordings, json)


def stream(
    bundle: BundlePath,
    source: LiveSources = None,
    drop: Annotated[
        str | None, typer.Option("--drop", help="NAME@FROM-TO,...: seconds in which a sensor is silent.")
    ] = None,
    fault: Annotated[
        str | None,
        typer.Option("--fault", help="NAME:KIND[=VALUE]@FROM-TO,...: what goes wrong with a sensor, and when."),
    ] = None,
    speed: Annotated[
        Speed, typer.Option("--speed", help="As fast as it was recorded, or as fast as possible.")
    ] = Speed.real,
    lateness: Annotated[
        float, typer.Option("--lateness", help="Seconds that a window waits for samples that come late.")
    ] = 0.5,
    backend: Backend = "auto",
    precision: Precision = "auto",
    require_gpu: RequireGpu = False,
    json: Json = False,
) -> None:
    """Listen to live sensors until Ctrl-C, or play recordings as if they were; one line a window."""
    from rep_edge.cli.listening import hear, open_live
    from rep_edge.runtime.faults.fault import parse_faults
    from rep_edge.runtime.faults.injecting import with_faults
    from rep_edge.runtime.replay import Replay, parse_drops
    from rep_edge.runtime.sources.address import is_recording, named_addresses, read_file
    from rep_edge.runtime.streaming import StreamingClassifier
    from rep_edge.runtime.windows import StreamSettings

    classifier = _load(bundle, backend, precision, require_gpu)
    streaming = StreamingClassifier(classifier, StreamSettings(lateness_s=lateness))
    drops, faults = parse_drops(drop, classifier.spec), parse_faults(fault, classifier.spec)
    addresses = named_addresses(source or [], classifier.spec)
    if all(map(is_recording, addresses.values())):
        recordings = {name: read_file(address, classifier.spec.stream(name)) for name, address in addresses.items()}
        replay = Replay(recordings, classifier.spec)
        _tell_start(classifier, _notes(recordings))
        heard = replay.play(streaming, drops, real_time=speed is Speed.real, faults=faults)
    else:
        if drops or speed is Speed.max:
            raise InputError(f"{'--drop' if drops else '--speed max'}: is for recordings, and here are live sensors")
        sources = with_faults(open_live(addresses, classifier.spec), faults, seed=0)
        _tell_start(classifier, {name: source.address for name, source in sources.items()})
        heard = hear(sources, streaming)
    _print_all(heard, classifier, addresses, json)


def _load(bundle: Path, backend: str, precision: str, require_gpu: bool) -> Classifier:
    from rep_edge.runtime.choosing import Wish
    from rep_edge.runtime.classifier import Classifier

    return Classifier.load(bundle, **Wish(backend, precision, require_gpu)._asdict())


def _notes(recordings: Mapping[str, Recording]) -> dict[str, str]:
    return {name: f"{recording.length_s:.1f} s, {recording.note}" for name, recording in recordings.items()}


def _tell_start(classifier: Classifier, notes: Mapping[str, str]) -> None:
    """What runs the graphs, and a line for each sensor."""
    tell(f"{classifier.backend}, {classifier.precision}: {'; '.join(classifier.reasons)}")
    for name in classifier.spec.names:
        tell(f"{name}: {notes.get(name, 'no source given, missing from the start')}")


def _print_all(heard: Iterable[Prediction], classifier: Classifier, given: Collection[str], json: bool) -> None:
    """A line for each prediction, and what changed; at the end a summary. given: the sensors that have a source."""
    told = len(classifier.reasons)
    if not json:
        print(f"{'time':>8}    {'class':{_width(classifier)}} sure   live sensors, latency", flush=True)
    lost: Mapping[str, object] = dict.fromkeys(name for name in classifier.spec.names if name not in given)
    counted: Counter[tuple[str, str | None]] = Counter()
    for prediction in heard:
        lost = _tell_changes(lost, prediction)
        for line in classifier.reasons[told:]:
            tell(line)
            told += 1
        _show(prediction, json, _width(classifier))
        counted[prediction.pattern, prediction.label] += 1
    _sum_up(counted)
    classifier.close()


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
            tell(f"{when}: {name} lost: {reason}")
    for name in lost:
        if name not in prediction.reasons:
            tell(f"{when}: {name} is live again")
    return prediction.reasons


def _sum_up(counted: Counter[tuple[str, str | None]]) -> None:
    """How many windows each set of live sensors decided, and for which classes."""
    tell(f"{sum(counted.values())} windows:")
    for pattern in dict.fromkeys(pattern for pattern, _ in counted):
        labels = Counter({label: count for (found, label), count in counted.items() if found == pattern})
        if pattern:
            listed = ", ".join(f"{label} {count}" for label, count in labels.most_common())
            tell(f"  {pattern}: {labels.total()} windows: {listed}")
        else:
            tell(f"  no sensor live: {labels.total()} windows")
