"""The command that turns what people said of tracks into recordings to train on: export-marks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rep_edge.cli.telling import tell


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(export_marks)


def export_marks(
    state_dir: Annotated[Path, typer.Argument(help="Folder in which the service keeps its journal and clips.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of recordings to write: a new one.")],
) -> None:
    """Write the clips of tracks that were marked on the page as a folder of recordings to train on."""
    from rep_edge.runtime.events.marked import export_marks as export
    from rep_edge.runtime.sinks.journal_marks import read_marks

    marks = read_marks(state_dir / "journal.sqlite")
    done = export(marks, state_dir / "clips", out)
    for reason, count in done.left_out.items():
        tell(f"left out: {count} that {reason}")
    classes = ", ".join(f"{label} {count}" for label, count in sorted(done.labels.items()))
    tell(f"{sum(done.labels.values())} recordings written to {out}: {classes}")
