"""The state of an unfinished training run on disk, from which it goes on exactly as if it had not been cut off."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rep_edge.errors import InputError
from rep_edge.files import write_file

STATE = "resume.pt"


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Tensors, numbers, strings and containers of them; the file is whole at any time."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_file(folder / STATE, buffer.getvalue())


def load_state(folder: Path) -> dict[str, Any] | None:
    """What `save_state` left, or None. Raises InputError for a file that it did not write."""
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is no state of a training run ({reason}); remove it to start again") from error
    if not isinstance(state, dict):
        raise InputError(f"{path}: is no state of a training run; remove it to start again")
    return state


def clear_state(folder: Path) -> None:
    """Remove the state of a run that has ended."""
    (folder / STATE).unlink(missing_ok=True)
