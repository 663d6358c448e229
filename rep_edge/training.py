"""Both stages of training: the backbone on complete windows, then the adapter with modalities dropped."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rep_edge.config import Config
from rep_edge.data.batches import WindowBatches
from rep_edge.data.missing import draw_training_patterns
from rep_edge.data.splits import Splits, Subset
from rep_edge.errors import InputError
from rep_edge.evaluation import probabilities
from rep_edge.fitting import Stage, fit
from rep_edge.model import RepModel, build_model
from rep_edge.objective import Objective
from rep_edge.seeds import derive_seed
from rep_edge.signals import Pattern

PREPARE_WINDOWS = 256


def train_backbone(config: Config, splits: Splits, out: Path, *, pattern: Pattern | None = None) -> RepModel:
    """Stage 1: towers and head on complete windows, or with `pattern` on that pattern alone (a specialist).

    Returns the model of the best validation epoch, also saved in `out`. A run that was cut off goes on where its last
    state was saved; a finished one is read back. Raises InputError where `out` holds another run.
    """
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = build_model(config, splits.train.labels)
    live = config.signals.complete if pattern is None else pattern

    def draw(windows: int, epoch: int) -> Sequence[Pattern]:
        return [live] * windows

    def score(model: RepModel, windows: WindowBatches) -> float:
        return accuracy(model, windows, live)

    origin = {"pattern": config.signals.pattern_name(live)}
    return fit(Stage(Objective(model, config.train), config.train, draw, score, origin), splits, out)


def adapt(backbone: RepModel, config: Config, splits: Splits, out: Path) -> RepModel:
    """Stage 2: memory and head on frozen towers, with modalities dropped at `adapt.missing_rate`. Otherwise as stage 1.

    The score of an epoch is the mean accuracy over the training's own mix of patterns. Raises InputError where the
    backbone does not fit the configuration or the data.
    """
    _check_backbone(backbone, config, splits.train.labels)
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

    def draw(windows: int, epoch: int) -> Sequence[Pattern]:
        return draw_training_patterns(spec, windows, rate, derive_seed(config.seed, "patterns", epoch))

    def score(model: RepModel, windows: WindowBatches) -> float:
        complete, *incomplete = (accuracy(model, windows, pattern) for pattern in spec.patterns())
        return (1 - rate) * complete + rate * sum(incomplete) / len(incomplete) if incomplete else complete

    teacher = copy.deepcopy(backbone).eval() if config.adapt.distillation else None
    return fit(Stage(Objective(model, config.adapt, teacher), config.adapt, draw, score, origin), splits, out)


def accuracy(model: RepModel, windows: WindowBatches, pattern: Pattern) -> float:
    """Share of windows whose most probable class is right, 0 to 1."""
    return float((probabilities(model, windows, pattern).argmax(axis=1) == windows.targets.numpy()).mean())


def _check_backbone(backbone: RepModel, config: Config, labels: Sequence[str]) -> None:
    """Raises InputError where a backbone was made for something else."""
    if backbone.stage != "backbone":
        raise InputError("backbone: is adapted already; give the folder that rep-edge train wrote")
    for section in ("signals", "frontend", "encoder"):
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
