"""The commands between desk and device: export, bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rep_edge.data.windows import WindowDataset
    from rep_edge.export.exporting import Source
    from rep_edge.model import RepModel
    from rep_edge.signals import Example

REAL_WINDOWS = 64
"""Test windows that parity is checked on, spread over the classes."""
TRAINING_WINDOWS = 400
"""Training windows that say what healthy sensors are like, drawn with the model's seed."""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(export)
    app.command()(bench)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that adapt (or train) wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle to write: a new folder.")],
) -> None:
    """Write the bundle of a model: one graph for every set of live modalities, proved equal to the model."""
    from rep_edge.checkpoint import load_pretrained
    from rep_edge.export.exporting import export_bundle
    from rep_edge.files import require_new

    require_new(out)
    model = load_pretrained(checkpoint)
    manifest = export_bundle(model, out, _source(model), tell)
    megabytes = (sum(g.file.size for g in manifest.graphs) + sum(w.size for w in manifest.weights.values())) / 1e6
    tell(f"bundle of {len(manifest.graphs)} graphs written to {out}, {megabytes:.1f} MB")


def bench(
    bundle: Annotated[Path, typer.Argument(help="Folder that export wrote.")],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="The model of the bundle; adds the rivals to the run.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Measure the latency of every graph on this machine, and how it compares."""
    from rep_edge.export.bench import run_bench
    from rep_edge.export.bench_report import print_bench
    from rep_edge.files import require_writable, write_file

    if json is not None:
        require_writable(json)
    result = run_bench(bundle, checkpoint, tell)
    print_bench(result)
    if json is not None:
        import msgspec

        write_file(json, msgspec.json.format(msgspec.json.encode(result), indent=1))
        tell(f"wrote {json}")


def _source(model: RepModel) -> Source:
    """Real windows of the model's own data; seeded noise, and a line that says so, where it cannot be opened."""
    import numpy as np

    from rep_edge.calibration.noise import noise
    from rep_edge.data.splits import open_splits
    from rep_edge.export.exporting import Source

    rng = np.random.default_rng(model.config.seed)
    try:
        splits = open_splits(model.config, model.tokenizers)
    except InputError as error:
        tell(f"no real windows to compare on, noise instead: {error}")
        if model.spec.hop_s:
            tell("no training windows either: health is told by the defaults alone")
        random = {m.name: noise(m, 8, rng) for m in model.spec.modalities}
        return Source(random, "not available")
    chosen = np.linspace(0, len(splits.test) - 1, min(REAL_WINDOWS, len(splits.test))).astype(int)
    drawn = rng.choice(len(splits.train), min(TRAINING_WINDOWS, len(splits.train)), replace=False)
    training = _stack(splits.train, np.sort(drawn)) if model.spec.hop_s else None
    return Source(_stack(splits.test, chosen), splits.test.name, training)


def _stack(dataset: WindowDataset, indices: NDArray[np.int64]) -> dict[str, Example]:
    """Modality -> [n, *shape]."""
    import numpy as np

    windows = [dataset[int(i)].values for i in indices]
    return {name: np.stack([window[name] for window in windows]) for name in dataset.spec.names}
