"""The command that says what runs here: doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError
from rep_edge.runtime.doctor.private import without_home

if TYPE_CHECKING:
    from rep_edge.runtime.doctor.machine import Machine
    from rep_edge.runtime.doctor.report import BackendState, BundleState, Report


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(doctor)


def doctor(
    bundle: Annotated[Path | None, typer.Argument(help="Folder that export wrote; say what runs it here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
    zip: Annotated[
        Path | None, typer.Option("--zip", help="Write a file to send with a question: this, settings, logs.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="With --zip: the service's YAML file; its state folder is read too.")
    ] = None,
) -> None:
    """Start every backend on a graph of one node and say what runs here, and why the rest does not.

    The text is made to be pasted into a report of a fault: it names no user. Exit code 1 where nothing runs.
    """
    import msgspec

    from rep_edge.runtime.doctor.report import examine
    from rep_edge.runtime.doctor.support import require_zip

    if zip is not None:
        require_zip(zip)
    elif config is not None:
        raise InputError("--config: belongs to --zip; give that too")
    report = examine(bundle, tell)
    encoded, lines = msgspec.json.encode(report).decode(), "\n".join(_lines(report))
    print(without_home(encoded if json else lines, Path.home()))
    if zip is not None:
        _write_zip(zip, {"doctor.json": encoded, "doctor.txt": lines}, config)
    if report.problem:
        raise InputError(without_home(report.problem, Path.home()))


def _write_zip(path: Path, report: dict[str, str], config: Path | None) -> None:
    from rep_edge.runtime.doctor.support import write_zip

    for line in write_zip(path, report, config):
        tell(f"left out: {line}")
    tell(f"written to {path}: look through it, then send it")


def _lines(report: Report) -> list[str]:
    state, cache = report.builder, report.cache
    return [
        *_about(report.machine),
        "",
        "backends:",
        *(_backend(backend) for backend in report.backends),
        f"engines for other GPUs: {'tensorrt-rtx ' if state.starts else 'cannot be built: '}{state.told}",
        f"engine cache: {cache.folder}, {cache.engines} engines, {cache.megabytes:g} MB in all",
        *(() if report.bundle is None else ("", *_bundle(report.bundle))),
    ]


def _about(machine: Machine) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return [
        f"rep-edge {machine.rep_edge}, Python {machine.python}, {machine.system}",
        f"processor: {machine.processor}, {machine.cores} cores, {machine.int8 or 'no instructions for int8 products'}",
        f"packages: {packages}",
        *(f"clash: {clash}" for clash in machine.clashes),
        f"GPU: {machine.gpu}",
    ]


def _backend(state: BackendState) -> str:
    return f"  {state.name:20} {'runs on ' if state.starts else 'does not start: '}{state.told}"


def _bundle(state: BundleState) -> list[str]:
    if not state.verified:
        return [f"bundle {state.path}: not usable"]
    lines = [
        f"bundle {state.path}: verified",
        f"  patterns: {', '.join(state.patterns)}",
        f"  precisions: {', '.join(state.precisions)}",
        f"  engines in it: {', '.join(state.engines) or 'none'}",
    ]
    if state.problem:
        return [*lines, "  cannot be run here"]
    return [*lines, f"  auto takes {state.backend}, {state.precision}: {'; '.join(state.reasons)}"]
