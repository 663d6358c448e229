"""The command that hands a bundle to a server: export-triton."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rep_edge.cli.telling import tell


class Device(str, Enum):
    """Where Triton runs the graphs."""

    auto = "auto"
    gpu = "gpu"
    cpu = "cpu"


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(export_triton)


def export_triton(
    bundle: Annotated[Path, typer.Argument(help="Folder that export wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Model repository to write: a new folder.")],
    precision: Annotated[str, typer.Option("--precision", help="Which of the bundle's graphs to serve.")] = "fp32",
    max_batch: Annotated[int, typer.Option("--max-batch", help="Windows that one call may hold.")] = 8,
    engines: Annotated[
        str | None,
        typer.Option("--engines", help="Serve the bundle's TensorRT engines for this target, such as sm89."),
    ] = None,
    device: Annotated[
        Device, typer.Option("--device", help="Where graphs run; auto: on a GPU where the server has one.")
    ] = Device.auto,
    name: Annotated[
        str, typer.Option("--name", help="The model that clients call; the others' names start so.")
    ] = "rep",
) -> None:
    """Write a model repository of Triton Inference Server: one model per pattern, and one that routes to them."""
    from rep_edge.export.triton import Serving, export_repository

    serving = Serving(name, precision, max_batch, device.value, engines)
    models = export_repository(bundle, out, serving, tell)
    tell(f"repository of {len(models) + 1} models written to {out}; serve it: tritonserver --model-repository={out}")
