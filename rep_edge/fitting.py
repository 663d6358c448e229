"""The training loop: epochs over windows until the last one or until patience ends, on any number of devices."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from rep_edge.checkpoint import JSON, RECORD, load_pretrained, read_record, save_pretrained
from rep_edge.config import Config, TrainConfig
from rep_edge.data.augment import augment
from rep_edge.data.batches import WindowBatches
from rep_edge.data.splits import Splits
from rep_edge.errors import InputError
from rep_edge.files import write_file
from rep_edge.hub import Origin
from rep_edge.model import RepModel
from rep_edge.objective import Objective
from rep_edge.progress import TrainingProgress
from rep_edge.resume import RunState, clear_state
from rep_edge.seeds import derive_seed
from rep_edge.signals import Pattern

SAVE_EVERY_S = 30.0
HISTORY = "history.json"


class Stage(NamedTuple):
    """What a stage trains, and how its epochs are judged.

    draw: (windows, epoch) -> the pattern of each training window; score: on the validation windows.
    origin: what the run depends on beside the configuration, such as the pattern or the backbone's weights.
    """

    objective: Objective
    config: TrainConfig
    draw: Callable[[int, int], Sequence[Pattern]]
    score: Callable[[RepModel, WindowBatches], float]
    origin: dict[str, str]


def fit(stage: Stage, splits: Splits, out: Path) -> RepModel:
    """Train, save the weights of the best validation epoch in `out`, return that model on the CPU.

    `out` receives model.safetensors, config.json and history.json. While the run lasts it holds the state from which a
    run that was cut off goes on; a finished run is read back. Raises InputError where `out` holds another run, where a
    step would leave a device without a window, and where the loss is no longer finite.
    """
    model, config = stage.objective.model, stage.config
    run = _identity(stage, splits)
    finished = _finished(out, model, run)
    if finished is not None:
        clear_state(out)
        return finished
    fabric = _fabric()
    train, validation = WindowBatches(splits.train), WindowBatches(splits.validation)
    per_epoch = math.ceil(len(train) / config.batch_size)
    if len(train) // per_epoch < fabric.world_size:
        raise InputError(
            f"train: steps of {len(train) // per_epoch} windows are too few for {fabric.world_size} devices; "
            "raise batch_size or use fewer devices"
        )
    optimizer = _optimizer(model, config)
    wrapped, wrapped_optimizer = fabric.setup(stage.objective, optimizer)
    stage.objective.teacher_to(fabric.device)
    state = RunState(run, model, optimizer)
    if state.restore(out) and fabric.is_global_zero:
        print(f"{out}: going on from step {state.step} of {per_epoch * config.epochs}", file=sys.stderr)
    loop = _Loop(fabric, stage, wrapped, wrapped_optimizer, state, per_epoch, out)
    # A folder that cannot be written is told before the work, not after it.
    loop.save()
    with TrainingProgress(
        per_epoch * config.epochs, config.batch_size, state.step, model.metric, quiet=not fabric.is_global_zero
    ) as progress:
        while state.step < per_epoch * config.epochs and not state.stale(config.patience):
            loop.epoch(train, progress)
            # All devices must agree on when to stop.
            score = fabric.broadcast(stage.score(model.eval(), validation))
            state.end_epoch(state.loss_sum / per_epoch, score)
            progress.epoch(len(state.history), config.epochs, state.history[-1], state.best)
            loop.save()
    model.load_state_dict(state.best_weights, strict=False)
    model = model.cpu().eval()
    if fabric.is_global_zero:
        write_file(out / HISTORY, msgspec.json.format(msgspec.json.encode(state.history), indent=1))
        training: dict[str, JSON] = {
            "epochs": len(state.history),
            "best_epoch": state.best_epoch,
            "metric": model.metric,
            "validation_score": state.best,
            "run": run,
            **stage.origin,
        }
        save_pretrained(model, out, training=training, dataset=splits.train.name)
        model.origin = Origin(dataset=splits.train.name, training=training)
        clear_state(out)
    fabric.barrier()
    return model


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up over the first share of steps, then a cosine to the floor."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    through = (step - warm) / max(1, steps - 1 - warm)
    return config.learning_rate * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * through)))


class _Loop(NamedTuple):
    """The steps of an epoch, each seeded by its number and its device, so that a resumed run repeats it."""

    fabric: Fabric
    stage: Stage
    wrapped: Any
    optimizer: Any
    state: RunState
    per_epoch: int
    out: Path

    def epoch(self, train: WindowBatches, progress: TrainingProgress) -> None:
        """The steps that the present epoch still lacks."""
        model = self.stage.objective.model
        seed, rank = model.config.seed, self.fabric.global_rank
        epoch, first = divmod(self.state.step, self.per_epoch)
        patterns = self.stage.draw(len(train), epoch)
        order = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(len(train))
        batches = np.array_split(order, self.per_epoch)[first:]
        mine = [batch[rank :: self.fabric.world_size] for batch in batches]
        self.wrapped.train()
        saved = time.monotonic()
        for rows, windows in zip(mine, train.take(mine), strict=True):
            step_seed = derive_seed(seed, "step", self.state.step, rank)
            torch.manual_seed(step_seed)
            if self.stage.config.augment:
                windows = augment(windows, model.spec, torch.Generator().manual_seed(step_seed))
            targets = train.targets[torch.from_numpy(rows)]
            progress.step(self.step(windows, targets, [patterns[i] for i in rows]))
            inside = self.state.step % self.per_epoch != 0
            if inside and time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()

    def step(self, windows: dict[str, Tensor], targets: Tensor, patterns: Sequence[Pattern]) -> float:
        """One step of the optimizer; returns the loss."""
        config, steps = self.stage.config, self.per_epoch * self.stage.config.epochs
        # The wrapped optimizer's groups are a copy that a restored state does not reach.
        for group in self.state.optimizer.param_groups:
            group["lr"] = learning_rate(self.state.step, steps, config)
        self.optimizer.zero_grad()
        value = self.backward(windows, targets, patterns)
        if not math.isfinite(value):
            raise InputError(
                f"train: the loss is {value} at step {self.state.step}; lower learning_rate or check the data"
            )
        self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.state.step += 1
        self.state.loss_sum += value
        return value

    def backward(self, windows: dict[str, Tensor], targets: Tensor, patterns: Sequence[Pattern]) -> float:
        """Gradients of the mean loss, in parts of `micro_batch` windows; returns that loss."""
        count = len(targets)
        size = self.stage.config.micro_batch or count
        total = 0.0
        for start in range(0, count, size):
            rows = slice(start, start + size)
            part = {name: self.fabric.to_device(values[rows]) for name, values in windows.items()}
            loss: Tensor = self.wrapped(part, self.fabric.to_device(targets[rows]), patterns[rows])
            share = len(targets[rows]) / count
            with self.fabric.no_backward_sync(self.wrapped, enabled=rows.stop < count):
                self.fabric.backward(loss * share)
            total += float(loss.detach()) * share
        return total

    def save(self) -> None:
        """The state on disk, written by the first device alone."""
        if self.fabric.is_global_zero:
            self.state.save(self.out)


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


def _identity(stage: Stage, splits: Splits) -> str:
    """SHA-256 over all that the outcome depends on."""
    model = stage.objective.model
    # Read back first, so that a rate given as 100 in Python and one read as 100.0 are the same.
    config = msgspec.json.decode(msgspec.json.encode(model.config), type=Config)
    parts = (model.stage, config, model.labels, splits.train.name, stage.origin)
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _finished(out: Path, model: RepModel, run: str) -> RepModel | None:
    """The model of a run that has ended in this folder. Raises InputError where it was another run."""
    if not (out / RECORD).exists():
        return None
    record = read_record(out)
    if record.stage != model.stage:
        raise InputError(f"{out}: holds the model of another stage ({record.stage}); choose another folder")
    if record.config != model.config:
        raise InputError(f"{out}: holds a model of another configuration; choose another folder or remove it")
    if record.training.get("run") != run:
        raise InputError(f"{out}: holds a model of other data or another backbone; choose another folder or remove it")
    print(f"{out}: training was finished before; nothing to do", file=sys.stderr)
    return load_pretrained(out)
