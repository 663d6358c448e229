"""The command that builds engines: compile."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.runtime.bundle import Bundle


class TensorRTBackend(str, Enum):
    """Which TensorRT builds."""

    rtx = "tensorrt-rtx"
    native = "tensorrt"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("compile")(compile_bundle)


def compile_bundle(
    bundle: Annotated[Path, typer.Argument(help="Folder that export wrote.")],
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help="sm86,sm89,...: GPUs to build for ahead of time, into the bundle. No GPU needed."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="fp32,fp16,int8: which graphs; all of the bundle by default.")
    ] = None,
    backend: Annotated[
        TensorRTBackend | None, typer.Option("--backend", help="The one that is installed, by default.")
    ] = None,
    batch: Annotated[str, typer.Option("--batch", help="Least, usual and largest batch.")] = "1,1,8",
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible", help="With --target: later versions of tensorrt shall run the engine too."
        ),
    ] = False,
    cache: Annotated[Path | None, typer.Option("--cache", help="Folder for engines of this GPU, and for logs.")] = None,
    jetson: Annotated[
        int | None, typer.Option("--jetson", help="JetPack's major version, 6 or 7: write a folder to copy there.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --jetson: the new folder.")] = None,
) -> None:
    """Build TensorRT engines of a bundle: for the GPU of this machine, for named targets, or a folder for a Jetson."""
    from rep_edge.runtime.bundle import open_bundle

    if jetson is None and out is not None:
        raise InputError("--out: goes with --jetson; leave it out")
    if jetson is not None:
        if target or precision or backend or version_compatible or out is None:
            raise InputError("--jetson: takes --out FOLDER and nothing else; the engines are built on the Jetson")
        _write_for_jetson(open_bundle(bundle), jetson, out)
    elif target is not None:
        _compile_ahead(open_bundle(bundle), _parts(target), precision, backend, batch, version_compatible, cache)
    elif version_compatible:
        raise InputError("--version-compatible: goes with --target; the cache is for this version alone")
    else:
        _compile_here(open_bundle(bundle), precision, backend, batch, cache)


def _compile_ahead(
    bundle: Bundle,
    targets: tuple[str, ...],
    precision: str | None,
    backend: TensorRTBackend | None,
    batch: str,
    version_compatible: bool,
    cache: Path | None,
) -> None:
    from rep_edge.export.tensorrt import Order, compile_for, require_precisions
    from rep_edge.runtime.engines.build import parse_batch
    from rep_edge.runtime.engines.cache import cache_folder, open_cache
    from rep_edge.runtime.engines.library import find_tensorrt

    order = Order(targets, require_precisions(bundle, _parts(precision)), parse_batch(batch), version_compatible)
    library = find_tensorrt((backend or TensorRTBackend.rtx).value)
    folder = cache or cache_folder()
    open_cache(folder)
    amended = compile_for(bundle, library, order, folder / "logs", tell)
    sizes = [engine.file.size for engine in amended.manifest.engines]
    tell(f"{bundle.path}: holds {len(sizes)} engines, {sum(sizes) / 1e6:.1f} MB")


def _compile_here(
    bundle: Bundle, precision: str | None, backend: TensorRTBackend | None, batch: str, cache: Path | None
) -> None:
    from rep_edge.export.tensorrt import require_precisions
    from rep_edge.runtime.engines.build import parse_batch
    from rep_edge.runtime.engines.cache import cache_folder
    from rep_edge.runtime.engines.compiling import compile_here
    from rep_edge.runtime.engines.gpu import find_gpu
    from rep_edge.runtime.engines.library import find_tensorrt, installed_backend

    precisions, wanted = require_precisions(bundle, _parts(precision)), parse_batch(batch)
    library = find_tensorrt(backend.value if backend else installed_backend())
    gpu, folder = find_gpu(), cache or cache_folder()
    plans = compile_here(bundle, library, gpu, precisions, wanted, folder, tell)
    size = sum(plan.stat().st_size for plan in plans) / 1e6
    tell(f"{folder}: holds the {len(plans)} engines of this bundle for {gpu.name}, {size:.1f} MB")


def _write_for_jetson(bundle: Bundle, version: int, out: Path) -> None:
    from rep_edge.export.jetson import INSTALL, write_jetson

    write_jetson(bundle, version, out)
    tell(f"wrote {out}: copy it to the Jetson and run there  sh {INSTALL}")


def _parts(text: str | None) -> tuple[str, ...]:
    """ "sm86,sm89" to its parts. Raises InputError for an empty one."""
    parts = tuple(part.strip() for part in text.split(",")) if text is not None else ()
    if not all(parts):
        raise InputError(f"{text!r}: names nothing; separate names by commas")
    return tuple(dict.fromkeys(parts))
