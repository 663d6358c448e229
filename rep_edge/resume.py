"""The state of an unfinished training run on disk, from which it goes on exactly as if it had not been cut off."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rep_edge.errors import InputError
from rep_edge.files import write_file

STATE = "resume.pt"


class RunState:
    """What a run needs to go on: weights, optimizer, step, history and the best epoch so far.

    run: what makes it this run and no other (settings, data, starting weights); a state of another run is refused.
    history: one entry an epoch. No generator's state is kept, because every draw is seeded by its step.
    """

    def __init__(self, run: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.run, self.model, self.optimizer = run, model, optimizer
        self.step, self.best, self.best_epoch = 0, -1.0, -1
        self.loss_sum = 0.0
        """Sum of the losses of the steps made in the present epoch."""
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []

    def end_epoch(self, loss: float, score: float) -> None:
        """Note the epoch's mean loss and validation score; keep the weights where it is the best so far."""
        self.history.append({"epoch": len(self.history) + 1, "loss": loss, "validation_score": score})
        self.loss_sum = 0.0
        if score > self.best:
            self.best, self.best_epoch = score, len(self.history)
            self.best_weights = {name: p.detach().cpu().clone() for name, p in self.learned().items()}

    def learned(self) -> dict[str, Tensor]:
        """The parameters that training changes; frozen towers, often the most by far, are as the run found them."""
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` epochs were no better than the best one before them (0: never)."""
        return bool(patience) and len(self.history) - self.best_epoch >= patience

    def save(self, folder: Path) -> None:
        """Replace the state in `folder`; the file is whole at any time."""
        kept = ("run", "step", "best", "best_epoch", "loss_sum", "best_weights", "history")
        state = {name: getattr(self, name) for name in kept}
        state |= {"model": self.learned(), "optimizer": self.optimizer.state_dict()}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_file(folder / STATE, buffer.getvalue())

    def restore(self, folder: Path) -> bool:
        """Go on from the state in `folder`; False where there is none.

        Raises InputError for a state of another run and for a damaged one.
        """
        path = folder / STATE
        if not path.exists():
            return False
        state = _read(path)
        if state.get("run") != self.run:
            raise InputError(
                f"{folder}: holds an unfinished run with other settings, data or backbone; "
                f"choose another folder or remove {STATE} there"
            )
        self.model.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.loss_sum = state["step"], state["loss_sum"]
        self.best, self.best_epoch, self.best_weights = state["best"], state["best_epoch"], state["best_weights"]
        self.history = state["history"]
        return True


def clear_state(folder: Path) -> None:
    """Remove the state of a run that has ended."""
    (folder / STATE).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """weights_only: a file from elsewhere cannot run code. Raises InputError for one that no run wrote."""
    damaged = f"{path}: is no state of a training run or is damaged; remove it to start again"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError(damaged) from error
    if not isinstance(state, dict):
        raise InputError(damaged)
    return state
