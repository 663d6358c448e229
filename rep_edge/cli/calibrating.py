"""The command that makes a bundle faster and its confidence honest: calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.calibration.calibrating import CalibrationSettings, Outcome, Sides
    from rep_edge.config import Config
    from rep_edge.runtime.bundle import Bundle

MADE = ("fp16", "int8")
"""Precisions that calibrate makes; fp32 is what export wrote."""


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(calibrate)


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Folder that export wrote; it is amended.")],
    data: Annotated[
        Path, typer.Option("--data", help="The model's own data: YAML file of its experiment, or its checkpoint.")
    ],
    precision: Annotated[
        str,
        typer.Option("--precision", help="Graphs to make: fp16, int8 or both; fp32 makes none, for confidence alone."),
    ] = ",".join(MADE),
    method: Annotated[
        str, typer.Option("--method", help="Activation ranges of int8: auto, minmax, entropy or percentile.")
    ] = "auto",
    budget: Annotated[
        float, typer.Option("--budget", help="Points of validation accuracy that a pattern may lose to a precision.")
    ] = 0.5,
    windows: Annotated[int, typer.Option("--windows", help="Training windows per pattern for the ranges.")] = 256,
    coverage: Annotated[
        float | None,
        typer.Option("--coverage", help="Also give sets of labels that hold the true one in this share of windows."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw of windows.")] = 0,
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder for pictures and figures; beside the bundle by default.")
    ] = None,
) -> None:
    """Make fp16 and int8 graphs that lose no accuracy worth naming, and fit the confidence of every pattern."""
    from rich.console import Console

    from rep_edge.calibration.calibrating import calibrate as run
    from rep_edge.calibration.drift_picture import draw_drift
    from rep_edge.calibration.reliability import draw_reliability
    from rep_edge.calibration.windows import check_task
    from rep_edge.cli.inspecting import print_confidence, print_label_sets, print_precisions
    from rep_edge.files import require_writable
    from rep_edge.provenance import package_versions
    from rep_edge.runtime.bundle import open_bundle

    settings = _settings(precision, method, budget, windows, coverage, seed)
    opened = open_bundle(bundle)
    check_task(opened.manifest)
    folder = report if report is not None else bundle.absolute().with_name(f"{bundle.absolute().name}-calibration")
    require_writable(folder / "calibration.json")
    require_writable(bundle / "manifest.json")
    sides = _sides(data, opened)
    if sides.dataset != opened.manifest.provenance.dataset:
        tell(f"note: the bundle was compared on {opened.manifest.provenance.dataset}; these are {sides.dataset}")
    outcome = run(opened, sides, settings, package_versions("onnx", "onnxruntime", "numpy", "scipy"), tell)
    draw_reliability(outcome.test, outcome.bundle.manifest.temperatures, folder / "reliability.png")
    if outcome.drift:
        draw_drift(outcome.drift, outcome.bundle.manifest.precisions, folder / "drift.png")
    _write_figures(outcome, folder / "calibration.json")
    console, manifest = Console(), outcome.bundle.manifest
    if manifest.precisions:
        print_precisions(console, manifest)
    print_confidence(console, manifest)
    if manifest.label_sets is not None:
        print_label_sets(console, manifest.label_sets)
    tell(f"amended {bundle}; pictures and figures in {folder}")


def _settings(
    precision: str, method: str, budget: float, windows: int, coverage: float | None, seed: int
) -> CalibrationSettings:
    """The options, found to make sense."""
    from rep_edge.calibration.calibrating import CalibrationSettings
    from rep_edge.calibration.int8 import METHODS

    wanted = [part.strip() for part in precision.split(",") if part.strip()]
    for part in wanted:
        if part not in (*MADE, "fp32"):
            raise InputError(f"--precision: {part!r} is not known; give fp16,int8 or one of them, or fp32 for none")
    if not wanted:
        raise InputError("--precision: names none; give fp16,int8 or one of them, or fp32 for none")
    if method not in ("auto", *METHODS):
        raise InputError(f"--method: {method!r} is not known; give auto, {', '.join(METHODS)}")
    if not 0 <= budget <= 100:
        raise InputError(f"--budget: must be 0 to 100 points, not {budget:g}")
    if windows < 1:
        raise InputError(f"--windows: must be at least 1, not {windows}")
    if coverage is not None and not 0 < coverage < 1:
        raise InputError(f"--coverage: must be above 0 and below 1, not {coverage:g}")
    return CalibrationSettings(
        precisions=tuple(part for part in MADE if part in wanted),
        methods=METHODS if method == "auto" else (method,),
        budget=budget / 100,
        windows=windows,
        coverage=coverage,
        seed=seed,
    )


def _sides(data: Path, bundle: Bundle) -> Sides:
    """The data's windows, its texts made by the bundle's own tokenizers, as on a device."""
    from rep_edge.calibration.calibrating import Sides
    from rep_edge.calibration.windows import check_modalities
    from rep_edge.data.splits import open_splits

    config = _config(data)
    check_modalities(config.signals, bundle.manifest)
    splits = open_splits(config, _tokenizers(config, bundle))
    tell(f"data: {splits.train.name}")
    return Sides(splits.train, splits.validation, splits.test, splits.train.name)


def _tokenizers(config: Config, bundle: Bundle) -> dict[str, str]:
    from rep_edge.signals import Text

    records = bundle.manifest.tokenizers
    texts = [m.name for m in config.signals.modalities if isinstance(m, Text)]
    for name in texts:
        if name not in records:
            raise InputError(
                f"calibration data: has the text {name}, which the bundle has not; give the data that the model was "
                "trained on"
            )
    return {name: (bundle.path / records[name].path).read_text(encoding="utf-8") for name in texts}


def _config(data: Path) -> Config:
    from rep_edge.config import read_config

    if data.is_dir():
        from rep_edge.checkpoint import read_record

        return read_record(data).config
    return read_config(data)


def _write_figures(outcome: Outcome, path: Path) -> None:
    """Everything in numbers, the drift of each layer too, which the manifest leaves out."""
    import msgspec

    from rep_edge.files import write_file

    manifest = outcome.bundle.manifest
    record = {
        "precisions": manifest.precisions,
        "temperatures": manifest.temperatures,
        "confidence": manifest.confidence,
        "label_sets": manifest.label_sets,
        "drift": {f"{pattern}.{precision}": drift for (pattern, precision), drift in outcome.drift.items()},
    }
    write_file(path, msgspec.json.format(msgspec.json.encode(record), indent=1))
