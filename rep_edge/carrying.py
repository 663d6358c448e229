"""Towers carried over from one data set to another: MulT pre-trained on one, trained on where the next one differs."""

from __future__ import annotations

import sys
from pathlib import Path

from rep_edge.checkpoint import load_pretrained
from rep_edge.errors import InputError
from rep_edge.model import RepModel


def carry_towers(model: RepModel, folder: Path) -> None:
    """Weights of the checkpoint's towers into the model's; a map of features of another width starts anew.

    Says what was left out. Raises InputError as `load_pretrained` does, and for towers of another architecture.
    """
    held = load_pretrained(folder).encoders.state_dict()
    own = model.encoders.state_dict()
    for name in own:
        if name not in held:
            raise InputError(f"{folder}: has no {name}; its towers are of another architecture or other modalities")
    left = [name for name, weights in own.items() if held[name].shape != weights.shape]
    for name in left:
        if ".project." not in name:
            found, wanted = list(held[name].shape), list(own[name].shape)
            raise InputError(f"{folder}: {name} has shape {found} and is {wanted} here; use the same encoder section")
    model.encoders.load_state_dict({name: own[name] if name in left else held[name] for name in own})
    told = f", all but {', '.join(left)}" if left else ""
    print(f"towers carried over from {folder}{told}", file=sys.stderr)
