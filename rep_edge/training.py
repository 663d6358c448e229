"""Both stages of training: the backbone on complete windows, then the adapter with modalities dropped."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rep_edge.carrying import carry_towers
from rep_edge.config import Config, MultConfig
from rep_edge.data.batches import WindowBatches
from rep_edge.data.missing import share_out
from rep_edge.data.splits import Splits, Subset
from rep_edge.encoders.choice import self_contained
from rep_edge.errors import InputError
from rep_edge.evaluation import headline, mixed_headline
from rep_edge.fitting import Stage, fit
from rep_edge.model import RepModel, starting_model
from rep_edge.objective import Objective
from rep_edge.seeds import derive_seed
from rep_edge.signals import Pattern

PREPARE_WINDOWS = 256


def train_backbone(config: Config, splits: Splits, out: Path, *, pattern: Pattern | None = None) -> RepModel:
    """Stage 1: towers and head (or the head alone, `trainable: head`) on complete windows, or with `pattern` on that
    pattern alone (a specialist).

    Returns the model of the best validation epoch, also saved in `out`. A run that was cut off goes on where its last
    state was saved; a finished one is read back. Raises InputError where `out` holds another run.
    """
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = starting_model(config, splits.train.labels)
    model.config = self_contained(config)
    if isinstance(config.encoder, MultConfig) and config.encoder.pretrained is not None:
        carry_towers(model, Path(config.encoder.pretrained))
    model.train_only("adapter" if config.train.trainable == "head" else "everything")
    live = config.signals.complete if pattern is None else pattern

    def draw(windows: int, epoch: int) -> Sequence[Pattern]:
        return [live] * windows

    def score(model: RepModel, windows: WindowBatches) -> float:
        return headline(model, windows, live)

    origin = {"pattern": config.signals.pattern_name(live)}
    return fit(Stage(Objective(model, config.train), config.train, draw, score, origin), splits, out)


def adapt(backbone: RepModel, config: Config, splits: Splits, out: Path) -> RepModel:
    """Stage 2: memory and head on frozen towers, with modalities dropped at `adapt.missing_rate`. Otherwise as stage 1.

    The score of an epoch is the headline over the training's own mix of patterns. Raises InputError where the
    backbone does not fit the configuration or the data.
    """
    config = self_contained(config)
    check_backbone(backbone, config, splits.train.labels)
    origin = {"backbone": _digest(backbone)}
    torch.manual_seed(derive_seed(config.seed, "adapter"))
    model = copy.deepcopy(backbone)
    model.config = config
    model.attach_adapter(config.adapter)
    model.train_only(config.adapt.trainable, config.adapt.matched_parameters)
    order = np.random.default_rng(derive_seed(config.seed, "prepare")).permutation(len(splits.train))
    some = WindowBatches(Subset(splits.train, order[:PREPARE_WINDOWS]))
    model.prepare(next(some.in_order(PREPARE_WINDOWS))[0])
    spec, rate = config.signals, config.adapt.missing_rate

    missing = missing_patterns(config)
    table = saved_table(config, len(splits.train), splits.train.name)

    def draw(windows: int, epoch: int) -> Sequence[Pattern]:
        if table is not None:
            return table
        return share_out(spec, windows, missing, rate, derive_seed(config.seed, "patterns", epoch))

    def score(model: RepModel, windows: WindowBatches) -> float:
        return mixed_headline(model, windows, missing, rate)

    teacher = copy.deepcopy(backbone).eval() if config.adapt.distillation else None
    return fit(Stage(Objective(model, config.adapt, teacher), config.adapt, draw, score, origin), splits, out)


def missing_patterns(config: Config) -> list[Pattern]:
    """The incomplete patterns of stage 2: every usable one, or those that lose one of `adapt.missing`.

    Raises InputError for a name that is no modality.
    """
    spec, names = config.signals, config.adapt.missing
    unknown = [name for name in names if name not in spec.names]
    if unknown:
        raise InputError(f"adapt: missing names {unknown[0]}, which is none of {', '.join(spec.names)}")
    if not names:
        return [pattern for pattern in spec.patterns() if pattern != spec.complete]
    return [spec.complete - {name} for name in names]


def saved_table(config: Config, n: int, dataset: str) -> list[Pattern] | None:
    """The missing table of the n training windows, where the configuration keeps tables."""
    if config.adapt.tables is None:
        return None
    from rep_edge.data.missing_tables import missing_table

    names = config.adapt.missing or config.signals.names
    folder, rate = Path(config.adapt.tables), config.adapt.missing_rate
    return missing_table(folder, dataset, "train", config.signals, n, names, rate, config.seed)


def check_backbone(backbone: RepModel, config: Config, labels: Sequence[str]) -> None:
    """Raises InputError where a backbone was made for something else."""
    config = self_contained(config)
    if backbone.stage != "backbone":
        raise InputError("backbone: is adapted already; give the folder that rep-edge train wrote")
    for section in ("signals", "frontend", "encoder", "task"):
        if getattr(backbone.config, section) != getattr(config, section):
            raise InputError(
                f"backbone: was trained with another `{section}` section than this configuration has; "
                "use the configuration of its training"
            )
    if backbone.labels != tuple(labels):
        raise InputError(
            f"backbone: knows the classes {list(backbone.labels)}, the data {list(labels)}; train on this data"
        )


def _digest(model: RepModel) -> str:
    """SHA-256 of the weights."""
    digest = hashlib.sha256()
    for name, weights in model.state_dict().items():
        digest.update(name.encode())
        digest.update(weights.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
