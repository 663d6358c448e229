"""The commands of the field service: serve, install-service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.runtime.bundle import Bundle
    from rep_edge.runtime.service.config import ServiceConfig

ConfigPath = Annotated[Path, typer.Option("--config", help="The service's YAML file.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(serve)
    app.command()(install_service)


def serve(
    config: ConfigPath = Path("rep-edge.yaml"),
    check: Annotated[bool, typer.Option("--check", help="Say what would run, open no sensor, stop.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file, stop.")] = False,
) -> None:
    """Classify live sensors until stopped: events, sinks, recordings, and a page.

    Exit code 0 after a stop that was asked for (SIGTERM, Ctrl-C).
    """
    if schema:
        from rep_edge.runtime.service.schema import config_schema

        print(config_schema().decode(), end="")
        return
    from rep_edge.runtime.bundle import open_bundle
    from rep_edge.runtime.service.reading import read_config

    read = read_config(config, os.environ)
    try:
        bundle = open_bundle(read.bundle)
    except InputError:
        # A service that runs on may have an older bundle that works: it judges for itself.
        if check:
            raise
    else:
        _refuse_misfits(config, read, bundle)
    if check:
        _print_plan(read, bundle)
        return
    from rep_edge.runtime.service.service import serve

    serve(read, os.environ)


def install_service(
    config: ConfigPath = Path("/etc/rep-edge/rep-edge.yaml"),
    user: Annotated[
        str | None, typer.Option("--user", help="Who the service runs as; left out, systemd makes up a user.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the unit and write nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a unit that was changed by hand.")] = False,
    unit_dir: Annotated[Path, typer.Option("--unit-dir", help="Folder that the unit is written to.")] = Path(
        "/etc/systemd/system"
    ),
) -> None:
    """Write the systemd unit that runs the service from the start of the machine on."""
    from rep_edge.runtime.service.install import STATE, UNIT, find_program, unit_text, write_unit
    from rep_edge.runtime.service.reading import config_of
    from rep_edge.runtime.service.yaml_lines import read_yaml

    settings = config_of(read_yaml(config))
    written = [settings.state_dir, *([settings.sinks.jsonl.path.parent] if settings.sinks.jsonl else [])]
    text = unit_text(config.absolute(), find_program(), user, written)
    if show:
        print(text, end="")
        return
    tell(f"written to {write_unit(text, unit_dir, replace)}; now run")
    for folder in written:
        if not (folder.is_relative_to(STATE) or folder.is_dir()):
            tell(f"  sudo install --directory --owner {user} {folder}")
    tell("  sudo systemctl daemon-reload")
    tell(f"  sudo systemctl enable --now {UNIT}")


def _refuse_misfits(path: Path, config: ServiceConfig, bundle: Bundle) -> None:
    """Raises InputError for the last thing in the file that does not fit the bundle; the others are told before."""
    from rep_edge.runtime.service.checking import check
    from rep_edge.runtime.service.reading import located

    misfits = located(path, check(config, bundle))
    for misfit in misfits[:-1]:
        tell(misfit)
    if misfits:
        raise InputError(misfits[-1])


def _print_plan(config: ServiceConfig, bundle: Bundle) -> None:
    from rep_edge.runtime.service.secrets import without_secrets

    manifest, sinks = bundle.manifest, config.sinks
    print(f"bundle {bundle.path}: verified, exported {manifest.provenance.created}")
    print(f"classes: {', '.join(manifest.labels)}")
    for node in config.nodes:
        print(f"node {node.name}:")
        for name in manifest.spec.names:
            source = node.streams[name].source if name in node.streams else "no source given, missing from the start"
            print(f"  {name}: {without_secrets(source)}")
    print(f"backend {config.backend}, precision {config.precision}")
    print(f"state: {config.state_dir}")
    print(f"sinks: {', '.join(name for name in sinks.__struct_fields__ if getattr(sinks, name)) or 'none'}")
    print(f"page: http://{config.web.host}:{config.web.port}/" if config.web.enabled else "page: none")
