"""What both layouts of MOD share: the classes, their names in run folders, and where a window lies."""

from __future__ import annotations

from typing import NamedTuple

LABELS = ("Polaris", "Warhog", "Truck", "motor", "tesla", "mustang", "walk")
"""The seven classes, in the order of the published label numbers."""

LEFT_OUT = ("bicycle", "forester", "pickup", "scooter")
"""Further runs of MOD that the seven-class task leaves out."""

_IN_FOLDER_NAME = {name.lower(): label for label, name in enumerate(LABELS)} | {"silverado": LABELS.index("Truck")}


class Cut(NamedTuple):
    """Where a window lies: run folder, sensor node, start in s."""

    folder: str
    node: str
    start_s: float


def class_of(folder: str) -> int | None:
    """Label of a run folder by its name ("Silverado0255pm" is a Truck); None for folders outside the seven classes."""
    name = folder.lower()
    if any(other in name for other in LEFT_OUT):
        return None
    return next((label for word, label in _IN_FOLDER_NAME.items() if word in name), None)
