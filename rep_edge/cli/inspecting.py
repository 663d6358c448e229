"""What a bundle holds, printed for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from rep_edge.cli.tables import print_table

if TYPE_CHECKING:
    from rep_edge.runtime.bundle import Bundle
    from rep_edge.runtime.manifest import LabelSetRecord, LayerRecord, Manifest

REASONS = 3
"""Layers that stayed in fp32 are listed by name up to so many for one graph."""
TASKS = {"multiclass": "classes", "multilabel": "labels, any of them", "regression": "a value, whose sides are"}
"""What stands before the names of a bundle's labels."""


def print_bundle(bundle: Bundle) -> None:
    """Modalities, task, graphs, what each precision costs, how honest the probabilities are, engines, provenance."""
    console, manifest = Console(), bundle.manifest
    _say(console, f"{bundle.path}: verified, schema version {manifest.schema_version}")
    _print_modalities(console, manifest)
    _say(console, f"{TASKS[manifest.task]}: {', '.join(manifest.labels)}{_hop(manifest)}")
    _print_graphs(console, manifest)
    for precision, weights in manifest.weights.items():
        _say(console, f"weights {precision}: {weights.size / 1e6:.1f} MB, shared by its graphs")
    if manifest.precisions:
        print_precisions(console, manifest)
    if manifest.confidence:
        print_confidence(console, manifest)
    if manifest.label_sets is not None:
        print_label_sets(console, manifest.label_sets)
    if manifest.health:
        _print_health(console, manifest)
    if manifest.engines:
        _print_engines(console, manifest)
    _print_provenance(console, manifest)


def _print_modalities(console: Console, manifest: Manifest) -> None:
    rows = [(m.name, m.description, f"{m.dtype} {list(m.shape)}") for m in manifest.modalities]
    print_table(console, "Modalities", ("name", "window", "array"), rows)
    for name, file in manifest.tokenizers.items():
        cut = "; its texts are cut behind their end" if name in manifest.trimmed else ""
        _say(console, f"tokenizer of {name}: {file.path}, {file.size / 1e6:.1f} MB{cut}")


def _hop(manifest: Manifest) -> str:
    return f"; a window every {manifest.hop_s:g} s" if manifest.hop_s else ""


def _print_graphs(console: Console, manifest: Manifest) -> None:
    """fp32 was compared with the trained model, the other precisions with fp32."""
    columns = ("live", "precision", "KB", "largest difference to what it was made of", "on windows")
    rows = [
        (
            g.pattern,
            g.precision,
            f"{g.file.size / 1e3:.0f}",
            f"{g.parity.max_abs_error:.1e} (limit {g.parity.tolerance:g})",
            str(g.parity.windows),
        )
        for g in manifest.graphs
    ]
    print_table(console, "Graphs", columns, rows)


def print_precisions(console: Console, manifest: Manifest) -> None:
    """What each graph in another precision costs, and which layers stayed in fp32."""
    columns = ("live", "precision", "accuracy", "in fp32", "allowed loss", "same label", "ranges", "layers")
    rows = [
        (
            p.pattern,
            p.precision,
            _percent(p.accuracy),
            _percent(p.accuracy_fp32),
            _percent(p.budget),
            _percent(p.agreement),
            p.method or "-",
            f"{p.converted}, {len(p.kept)} kept in fp32",
        )
        for p in manifest.precisions
    ]
    print_table(console, "Precision, on validation windows", columns, rows)
    for p in manifest.precisions:
        if p.kept:
            _say(console, f"kept in fp32, {p.pattern} in {p.precision}: {_layers(p.kept)}")


def _layers(kept: tuple[LayerRecord, ...]) -> str:
    named = "; ".join(f"{layer.name} ({layer.operator}): {layer.reason}" for layer in kept[:REASONS])
    return named if len(kept) <= REASONS else f"{named}; and {len(kept) - REASONS} more (--json)"


def print_confidence(console: Console, manifest: Manifest) -> None:
    """Temperatures, and how far confidence is from accuracy before and after."""
    columns = (
        "live",
        "temperature",
        "error before",
        "error after",
        "accuracy",
        "mean confidence",
        "on windows",
    )
    rows = [
        (
            pattern,
            f"{manifest.temperatures.get(pattern, 1.0):.3f}",
            _percent(c.ece_before),
            _percent(c.ece_after),
            _percent(c.accuracy),
            _percent(c.confidence),
            str(c.windows),
        )
        for pattern, c in manifest.confidence.items()
    ]
    print_table(console, "Expected calibration error of the probabilities", columns, rows)


def print_label_sets(console: Console, sets: LabelSetRecord) -> None:
    """Thresholds, and what sets of labels hold."""
    columns = ("live", "lowest probability", "true class in the set", "mean labels in a set")
    rows = [
        (pattern, f"{threshold:.3f}", _percent(sets.covered[pattern]), f"{sets.size[pattern]:.2f}")
        for pattern, threshold in sets.thresholds.items()
    ]
    print_table(console, f"Label sets, to hold the true class in {_percent(sets.coverage)}", columns, rows)


def _print_health(console: Console, manifest: Manifest) -> None:
    """What a device holds its sensors against."""
    columns = ("sensor", "noise", "mean", "largest", "clipped", "stuck", "windows")
    rows = [
        (
            f"{name}, {manifest.spec.stream(name).unit}",
            f"{seen.noise_low:.3g} to {seen.noise_high:.3g}",
            f"{seen.mean_low:.3g} to {seen.mean_high:.3g}",
            f"{seen.largest:.3g}",
            _percent(seen.clipped),
            f"{seen.stuck_s:.2g} s",
            str(seen.windows),
        )
        for name, seen in manifest.health.items()
    ]
    print_table(console, "Sensors in training", columns, rows)


def _print_engines(console: Console, manifest: Manifest) -> None:
    columns = ("live", "precision", "for", "built by", "batch", "KB")
    rows = [
        (
            e.pattern,
            e.precision,
            e.compute_capability,
            f"{e.backend} {e.backend_version}",
            f"{e.batch[0]} to {e.batch[2]}, usually {e.batch[1]}",
            f"{e.file.size / 1e3:.0f}",
        )
        for e in manifest.engines
    ]
    print_table(console, "Engines", columns, rows)


def _print_provenance(console: Console, manifest: Manifest) -> None:
    p = manifest.provenance
    _say(console, f"memory: {p.memory}; data: {p.dataset}; seed {p.seed}; made {p.created}")
    if p.calibration is not None:
        windows = ", ".join(f"{count} of {pattern}" for pattern, count in p.calibration.windows.items())
        _say(console, f"calibrated on: {p.calibration.dataset}; {windows or 'no'} windows; seed {p.calibration.seed}")
    versions = ", ".join(f"{name} {version}" for name, version in p.versions.items())
    _say(console, f"source: {p.git_revision or 'no git revision'}; {versions}")


def _say(console: Console, line: str) -> None:
    # Names of layers hold brackets, which are no markup here. A file's lines stay whole, as its tables do.
    console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
