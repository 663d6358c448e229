"""The command that says what runs here: doctor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.runtime.doctor.machine import Machine
    from rep_edge.runtime.doctor.report import BackendState, BundleState, Report


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(doctor)


def doctor(
    bundle: Annotated[Path | None, typer.Argument(help="Folder that export wrote; say what runs it here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
) -> None:
    """Start every backend on a graph of one node and say what runs here, and why the rest does not.

    The text is made to be pasted into a report of a fault: it names no user. Exit code 1 where nothing runs.
    """
    import msgspec

    from rep_edge.runtime.doctor.report import examine

    report = examine(bundle, tell)
    text = msgspec.json.encode(report).decode() if json else "\n".join(_lines(report))
    print(without_home(text, Path.home()))
    if report.problem:
        raise InputError(without_home(report.problem, Path.home()))


def without_home(text: str, home: Path) -> str:
    """The text with "~" for the home folder, whose name is a person's."""
    if home == Path(home.anchor):
        return text
    return re.sub(rf"{re.escape(str(home))}(?![\w.-])", "~", text)


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
        f"  live sensors: {', '.join(state.patterns)}",
        f"  precisions: {', '.join(state.precisions)}",
        f"  engines in it: {', '.join(state.engines) or 'none'}",
    ]
    if state.problem:
        return [*lines, "  cannot be run here"]
    return [*lines, f"  auto takes {state.backend}, {state.precision}: {'; '.join(state.reasons)}"]
