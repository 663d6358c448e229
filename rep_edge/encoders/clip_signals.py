"""A vision-language model's towers for the signals, and whether the signals are what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from math import isclose
from typing import Any

from rep_edge.encoders.base import Encoder
from rep_edge.errors import InputError
from rep_edge.signals import Image, Modality, Text, WindowSpec

PREPARATION = {"mean": "mean", "std": "std", "interpolation": "interpolation", "resize_mode": "resize"}
"""What a model says about its pictures -> the field of `Image`."""


def towers_for(
    spec: WindowSpec, image: Callable[[Image], Encoder], text: Callable[[Text], Encoder]
) -> dict[str, Encoder]:
    """A tower for each modality, made by its kind; a second image or text gets a copy of the first one's.

    Raises InputError where a modality is neither.
    """
    made: dict[type[Modality], Encoder] = {}
    towers: dict[str, Encoder] = {}
    for modality in spec.modalities:
        if type(modality) in made:
            tower = deepcopy(made[type(modality)])
        elif isinstance(modality, Image):
            tower = made[Image] = image(modality)
        elif isinstance(modality, Text):
            tower = made[Text] = text(modality)
        else:
            raise InputError(
                f"encoder: kind clip takes images and texts, and {modality.name} is neither; change encoder.kind"
            )
        towers[modality.name] = tower
    return towers


def check_image(modality: Image, model: str, size: int) -> None:
    """Raises InputError where pictures have another size than the model takes."""
    if modality.size != size:
        raise InputError(f"signals: {modality.name} has size {modality.size}, but {model} takes {size}")


def check_preparation(spec: WindowSpec, model: str, preparation: Mapping[str, Any]) -> None:
    """Raises InputError where pictures are prepared otherwise than the model's weights expect.

    preparation: mean, std, interpolation, resize_mode, as far as they are known.
    """
    for modality in spec.modalities:
        for key, field in PREPARATION.items() if isinstance(modality, Image) else ():
            wanted, found = preparation.get(key), getattr(modality, field)
            if wanted is not None and not _agree(wanted, found):
                wanted = tuple(wanted) if isinstance(wanted, (list, tuple)) else wanted
                raise InputError(f"signals: {modality.name} has {field} {found}, but {model} takes {wanted}")


def check_text(modality: Text, model: str, tokens: int, vocabulary: int, end: int | None) -> None:
    """Raises InputError where texts have another length, vocabulary or end (None: any) than the model takes."""
    if modality.tokens != tokens:
        raise InputError(f"signals: {modality.name} has {modality.tokens} tokens, but {model} takes {tokens}")
    if modality.vocabulary != vocabulary:
        raise InputError(
            f"signals: {modality.name} has a vocabulary of {modality.vocabulary}, but {model} has {vocabulary}"
        )
    if end is not None and modality.end != end:
        raise InputError(f"signals: {modality.name} has end {modality.end}, but {model} looks for {end}")


def _agree(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, (list, tuple)):
        return len(wanted) == len(found) and all(
            isclose(a, b, abs_tol=1e-6) for a, b in zip(wanted, found, strict=True)
        )
    return bool(wanted == found)
