"""Both stages of training: the backbone on complete windows, then the adapter with modalities dropped."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from rep_edge.checkpoint import JSON, load_pretrained, read_record, save_pretrained
from rep_edge.config import Config, TrainConfig
from rep_edge.data.augment import augment
from rep_edge.data.batches import WindowBatches
from rep_edge.data.missing import draw_training_patterns
from rep_edge.data.splits import Splits
from rep_edge.errors import InputError
from rep_edge.evaluation import probabilities
from rep_edge.model import RepModel, build_model
from rep_edge.objective import Objective
from rep_edge.progress import TrainingProgress
from rep_edge.resume import clear_state, load_state, save_state
from rep_edge.seeds import derive_seed
from rep_edge.signals import Pattern

SAVE_EVERY_S = 30.0
PREPARE_WINDOWS = 256

DrawPatterns = Callable[[int, int], Sequence[Pattern]]
"""(windows, epoch) -> a pattern for each window."""
Score = Callable[[RepModel, WindowBatches], float]


def train_backbone(config: Config, splits: Splits, out: Path) -> RepModel:
    """Stage 1: towers and head on complete windows. Returns the model of the best validation epoch, also saved in
    `out`.

    A run that was cut off goes on where its last state was saved; a finished one is read back. Raises InputError where
    `out` holds another run.
    """
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = build_model(config, splits.train.labels)
    complete = config.signals.complete

    def draw(windows: int, epoch: int) -> Sequence[Pattern]:
        return [complete] * windows

    def score(model: RepModel, windows: WindowBatches) -> float:
        return accuracy(model, windows, complete)

    return _run(Objective(model, config.train), config.train, draw, score, splits, out)


def adapt(backbone: RepModel, config: Config, splits: Splits, out: Path) -> RepModel:
    """Stage 2: memory and head on frozen towers, with modalities dropped at `adapt.missing_rate`. Otherwise as stage 1.

    The score of an epoch is the mean accuracy over the training's own mix of patterns. Raises InputError where the
    backbone does not fit the configuration or the data.
    """
    if (backbone.config.signals, backbone.config.encoder, backbone.config.frontend) != (
        config.signals,
        config.encoder,
        config.frontend,
    ):
        raise InputError(
            "backbone: was trained with other signals, frontend or encoder than this configuration has; "
            "use the configuration of its training"
        )
    if backbone.labels != tuple(splits.train.labels):
        raise InputError(f"backbone: knows the classes {list(backbone.labels)}, the data {list(splits.train.labels)}")
    torch.manual_seed(derive_seed(config.seed, "adapter"))
    model = copy.deepcopy(backbone)
    model.config = config
    model.attach_adapter(config.adapter)
    model.train_only(config.adapt.trainable, config.adapt.matched_parameters)
    chosen = np.random.default_rng(derive_seed(config.seed, "prepare")).permutation(len(splits.train))[:PREPARE_WINDOWS]
    model.prepare(next(iter(WindowBatches(splits.train).take([chosen]))))
    spec, rate = config.signals, config.adapt.missing_rate

    def draw(windows: int, epoch: int) -> Sequence[Pattern]:
        return draw_training_patterns(spec, windows, rate, derive_seed(config.seed, "patterns", epoch))

    def score(model: RepModel, windows: WindowBatches) -> float:
        complete, *incomplete = (accuracy(model, windows, pattern) for pattern in spec.patterns())
        return (1 - rate) * complete + rate * sum(incomplete) / len(incomplete) if incomplete else complete

    teacher = backbone.eval() if config.adapt.distillation else None
    return _run(Objective(model, config.adapt, teacher), config.adapt, draw, score, splits, out)


def accuracy(model: RepModel, windows: WindowBatches, pattern: Pattern) -> float:
    """Share of windows whose most probable class is right, 0 to 1."""
    return float((probabilities(model, windows, pattern).argmax(axis=1) == windows.targets.numpy()).mean())


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up over the first share of steps, then a cosine to the floor."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    through = (step - warm) / max(1, steps - warm)
    return config.learning_rate * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * through)))


def _optimizer(model: RepModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over what learns; norms, biases and scalars do not decay."""
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _fabric() -> Fabric:
    """One device, or those that torchrun started; mixed precision where there is a GPU."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // local
    strategy = DDPStrategy(find_unused_parameters=True) if local * nodes > 1 else "auto"
    precision: Any = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    fabric = Fabric(devices=local, num_nodes=nodes, strategy=strategy, precision=precision)
    fabric.launch()
    return fabric


def _finished(out: Path, config: Config) -> RepModel | None:
    """The model of a run that has ended in this folder. Raises InputError where it was another run."""
    if not (out / "config.json").exists():
        return None
    if read_record(out).config != config:
        raise InputError(f"{out}: holds a model of another configuration; choose another folder or remove it")
    print(f"{out}: training was finished before; nothing to do", file=sys.stderr)
    return load_pretrained(out)


def _run(
    objective: Objective, config: TrainConfig, draw: DrawPatterns, score: Score, splits: Splits, out: Path
) -> RepModel:
    """Epochs over the training windows until the last one or until patience ends; the best one's weights are kept."""
    model = objective.model
    finished = _finished(out, model.config)
    if finished is not None:
        return finished
    seed = model.config.seed
    fabric = _fabric()
    train, validation = WindowBatches(splits.train), WindowBatches(splits.validation)
    if len(train) < fabric.world_size:
        raise InputError(f"data: {len(train)} training windows are too few for {fabric.world_size} devices")
    optimizer = _optimizer(model, config)
    wrapped, wrapped_optimizer = fabric.setup(objective, optimizer)
    per_epoch = math.ceil(len(train) / config.batch_size)
    steps = per_epoch * config.epochs
    state = _State(model, optimizer, msgspec.json.encode(model.config).decode())
    state.restore(out, fabric.device)
    progress = TrainingProgress(steps, config.batch_size, state.step, quiet=not fabric.is_global_zero)
    saved = time.monotonic()
    with progress:
        while state.step < steps and not state.stale(config.patience):
            epoch, first = divmod(state.step, per_epoch)
            wrapped.train()
            patterns = draw(len(train), epoch)
            order = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(len(train))
            batches = np.array_split(order, per_epoch)[first:]
            mine = [batch[fabric.global_rank :: fabric.world_size] for batch in batches]
            for rows, windows in zip(mine, train.take(mine), strict=True):
                step_seed = derive_seed(seed, "step", state.step, fabric.global_rank)
                torch.manual_seed(step_seed)
                if config.augment:
                    windows = augment(windows, torch.Generator().manual_seed(step_seed))
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(state.step, steps, config)
                moved = {name: fabric.to_device(values) for name, values in windows.items()}
                targets = fabric.to_device(train.targets[torch.from_numpy(rows)])
                loss: Tensor = wrapped(moved, targets, [patterns[i] for i in rows])
                wrapped_optimizer.zero_grad()
                fabric.backward(loss)
                fabric.clip_gradients(wrapped, wrapped_optimizer, max_norm=config.clip_norm)
                wrapped_optimizer.step()
                state.step += 1
                progress.step(float(loss.detach()))
                inside = state.step % per_epoch != 0
                if inside and fabric.is_global_zero and time.monotonic() - saved > SAVE_EVERY_S:
                    state.save(out)
                    saved = time.monotonic()
            state.end_epoch(score(model.eval(), validation))
            progress.epoch(epoch + 1, config.epochs, state.history[-1], state.best)
            if fabric.is_global_zero:
                state.save(out)
    model.load_state_dict(state.best_weights)
    model = model.cpu().eval()
    if fabric.is_global_zero:
        history: list[JSON] = [*state.history]
        summary: dict[str, JSON] = {"epochs": len(history), "validation_accuracy": state.best, "history": history}
        save_pretrained(model, out, training=summary, dataset=splits.train.name)
        clear_state(out)
    fabric.barrier()
    return model


class _State:
    """What a run needs to go on: weights, optimizer, step, and the best epoch so far."""

    def __init__(self, model: RepModel, optimizer: torch.optim.Optimizer, config: str) -> None:
        self.model, self.optimizer, self.config = model, optimizer, config
        self.step, self.best, self.best_epoch = 0, -1.0, -1
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[float] = []

    def end_epoch(self, score: float) -> None:
        """Keep the weights where the validation score is the best so far."""
        self.history.append(score)
        if score > self.best:
            self.best, self.best_epoch = score, len(self.history) - 1
            self.best_weights = {name: t.detach().cpu().clone() for name, t in self.model.state_dict().items()}

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` epochs were no better than the best one before them."""
        return bool(patience) and len(self.history) - 1 - self.best_epoch >= patience

    def save(self, out: Path) -> None:
        save_state(
            out,
            {
                "config": self.config,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "best": self.best,
                "best_epoch": self.best_epoch,
                "best_weights": self.best_weights,
                "history": self.history,
            },
        )

    def restore(self, out: Path, device: torch.device) -> None:
        """Go on from a saved state, if there is one. Raises InputError where it is of another configuration."""
        state = load_state(out)
        if state is None:
            return
        if state["config"] != self.config:
            raise InputError(f"{out}: holds an unfinished run of another configuration; choose or empty another folder")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self.best_epoch = state["step"], state["best"], state["best_epoch"]
        self.best_weights, self.history = state["best_weights"], state["history"]
        print(f"{out}: going on from step {self.step}", file=sys.stderr)
