"""The commands that make and judge a model: train, adapt, evaluate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rep_edge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rep_edge.config import Config
    from rep_edge.data.splits import Splits
    from rep_edge.evaluation import TableMaker, Tables
    from rep_edge.model import RepModel
    from rep_edge.signals import WindowSpec

Out = Annotated[Path, typer.Option("--out", help="Folder to write; a run that was cut off goes on in it.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(train)
    app.command()(adapt)
    app.command()(evaluate)


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the experiment.")],
    out: Out,
    random_init: Annotated[
        bool, typer.Option("--random-init", help="CLIP's towers start from random weights, not from trained ones.")
    ] = False,
) -> None:
    """Train the backbone on windows with all modalities (stage 1)."""
    from rep_edge.config import read_config, with_random_init
    from rep_edge.training import train_backbone

    experiment = read_config(config)
    if random_init:
        experiment = with_random_init(experiment)
    train_backbone(experiment, _open(experiment), out)
    _tell(out, "backbone")


def adapt(
    backbone: Annotated[Path, typer.Argument(help="Folder that train wrote.")],
    config: Annotated[Path, typer.Option("--config", help="YAML file of the experiment.")],
    out: Out,
) -> None:
    """Train the adapter on the frozen backbone while modalities drop out (stage 2)."""
    from rep_edge.checkpoint import load_pretrained
    from rep_edge.config import read_config
    from rep_edge.parameters import parameter_line
    from rep_edge.training import adapt as run
    from rep_edge.training import check_backbone

    experiment = read_config(config)
    model = load_pretrained(backbone)
    splits = _open(experiment, model.tokenizers)
    check_backbone(model, experiment, splits.train.labels)
    print(parameter_line(model, experiment), file=sys.stderr)
    run(model, experiment, splits, out)
    _tell(out, "adapted model")


def evaluate(
    checkpoints: Annotated[list[Path], typer.Argument(help="Folders that train or adapt wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for evaluation.json and evaluation.png.")],
) -> None:
    """Score models on the same test windows over missing rates and live modalities."""
    import msgspec
    import torch
    from rich.console import Console

    from rep_edge.checkpoint import load_pretrained
    from rep_edge.data.batches import WindowBatches
    from rep_edge.evaluation import Row
    from rep_edge.evaluation import evaluate as score
    from rep_edge.files import write_file
    from rep_edge.plots import draw_curves
    from rep_edge.report import print_report

    models = [load_pretrained(folder) for folder in checkpoints]
    _comparable(checkpoints, models)
    test = _open(models[0].config, models[0].tokenizers).test
    if test.labels != models[0].labels:
        raise InputError(
            f"{checkpoints[0]}: knows the classes {list(models[0].labels)}, the data {list(test.labels)}; "
            "evaluate it on the data it was trained on"
        )
    windows = WindowBatches(test)
    tables = _tables(models[0].config, test.name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows: list[Row] = []
    for name, model in zip(method_names(checkpoints, models), models, strict=True):
        print(f"evaluating {name} on {len(windows)} windows", file=sys.stderr)
        rows += score(name, model.config.seed, model.to(device), windows, tables)
        model.cpu()
    write_file(out / "evaluation.json", msgspec.json.format(msgspec.json.encode(rows), indent=1))
    print_report(rows, Console())
    print(f"wrote {out / 'evaluation.json'}", file=sys.stderr)
    if len(test.spec.names) > 1:
        draw_curves(rows, out / "evaluation.png")
        print(f"wrote {out / 'evaluation.png'}", file=sys.stderr)


def method_names(checkpoints: list[Path], models: list[RepModel]) -> list[str]:
    """What the tables call each checkpoint: its kind, and its folder where two of one kind share a seed."""
    kinds = [method_name(model) for model in models]
    keys = [(kind, model.config.seed) for kind, model in zip(kinds, models, strict=True)]
    return [
        kind if keys.count(key) == 1 else f"{kind} ({folder})"
        for kind, key, folder in zip(kinds, keys, checkpoints, strict=True)
    ]


def method_name(model: RepModel) -> str:
    """The method in words."""
    if model.stage == "backbone":
        return "plain backbone"
    config = model.config
    head = "head retrained" if config.adapt.trainable == "adapter" else f"{config.adapt.trainable} fine-tuned"
    if config.adapter.cache:
        head = "REP's cache alone"
    return {"none": head, "prompts": "prompts (MAP)"}.get(config.adapter.memory, f"REP {config.adapter.memory}")


def _comparable(checkpoints: list[Path], models: list[RepModel]) -> None:
    """Raises InputError where models would not be judged on the same windows."""
    first = models[0]
    for folder, model in zip(checkpoints, models, strict=True):
        for what, one, other in (
            ("signals", model.spec, first.spec),
            ("labels", model.labels, first.labels),
            ("data", model.config.data, first.config.data),
            ("split", model.config.split, first.config.split),
        ):
            if one != other:
                raise InputError(f"{folder}: has other {what} than {checkpoints[0]}; evaluate it on its own")


def _open(config: Config, tokenizers: Mapping[str, str] | None = None) -> Splits:
    """The data of a configuration, and what is to be said about it. tokenizers: None: those that it names."""
    from rep_edge.data.splits import open_splits
    from rep_edge.encoders.choice import tokenizers_of
    from rep_edge.tasks import TASKS

    print(f"opening {config.data.__struct_config__.tag} data", file=sys.stderr)
    splits = open_splits(config, tokenizers_of(config) if tokenizers is None else tokenizers)
    print(splits.train.name, file=sys.stderr)
    for line in splits.train.report:
        print(f"  {line}", file=sys.stderr)
    for name, side in splits._asdict().items():
        counted = TASKS[config.task].count(side.targets, side.labels)
        parts = ", ".join(f"{label} {count}" for label, count in counted.items())
        print(f"  {name}: {len(side)} windows ({parts})", file=sys.stderr)
    return splits


def _tables(config: Config, dataset: str) -> TableMaker:
    """The saved missing tables of the test windows where the configuration keeps tables, else drawn ones."""
    from rep_edge.data.missing_tables import missing_table
    from rep_edge.evaluation import drawn_tables

    folder = config.adapt.tables
    if folder is None:
        return drawn_tables
    print(f"missing tables of the test windows: {folder}, one for each rate, seed {config.seed}", file=sys.stderr)

    def saved(spec: WindowSpec, n: int, missing: Sequence[str], rate: float) -> Tables:
        return [missing_table(Path(folder), dataset, "test", spec, n, missing, rate, config.seed)]

    return saved


def _tell(out: Path, what: str) -> None:
    """The figures of a finished run."""
    from rep_edge.checkpoint import read_record

    training = read_record(out).training
    print(
        f"{what} saved in {out}: epoch {training['best_epoch']} of {training['epochs']}, "
        f"validation {training['metric']} {100 * float(str(training['validation_score'])):.1f} %",
        file=sys.stderr,
    )
