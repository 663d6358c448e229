"""CLIP's image and text towers out of open_clip, for REP to run block by block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rep_edge.config import ClipConfig
from rep_edge.encoders.base import Encoder
from rep_edge.encoders.clip_definition import Definition, file_text, instantiate, read_definition
from rep_edge.encoders.clip_parts import image_tower, picture_size, text_end, text_tower
from rep_edge.encoders.clip_signals import check_image, check_preparation, check_text, towers_for
from rep_edge.encoders.clip_weights import fetched, load_weights, preparation_of, read_weights, renamed, tag_of
from rep_edge.encoders.takeover import UnsupportedTowerError, materialised
from rep_edge.errors import InputError
from rep_edge.signals import Image, Text, WindowSpec

CHOICE = "choose one with vision transformers, such as ViT-B-16, ViT-L-14 or ViT-B-16-SigLIP"


def build_clip_towers(config: ClipConfig, spec: WindowSpec) -> dict[str, Encoder]:
    """The towers with the weights that `config` names: images get the image tower, texts the text tower.

    Raises InputError where signals and model do not fit, where the model has no towers of this kind, and where its
    weights cannot be had, are damaged or another model's.
    """
    definition = read_definition(config.model)
    # All that can be wrong without weights is told before they are drawn, fetched or read.
    model = _model(definition, "meta")
    _towers(model, definition, spec)
    if config.random_init:
        return _towers(_model(definition, "cpu"), definition, spec)
    tag = tag_of(definition, config.pretrained)
    check_preparation(spec, definition.name, preparation_of(definition, tag))
    path = Path(str(config.pretrained)) if tag is None else fetched(definition, tag)
    load_weights(model, renamed(read_weights(path), model), path, definition.name)
    return _towers(model, definition, spec)


def clip_architecture(config: ClipConfig, spec: WindowSpec) -> dict[str, Encoder]:
    """The same towers without values, for a checkpoint's: no weights are read and no network is asked.

    Raises InputError where signals and model do not fit, and where the model has no towers of this kind.
    """
    definition = read_definition(config.model)
    towers = _towers(_model(definition, "meta"), definition, spec)
    return {name: materialised(tower) for name, tower in towers.items()}


def self_contained(config: ClipConfig) -> ClipConfig:
    """`config` with the text of a model configuration in place of its file's path, so that it says all by itself."""
    if not config.model.endswith(".json"):
        return config
    read_definition(config.model)
    return msgspec.structs.replace(config, model=file_text(config.model))


def _model(definition: Definition, device: str) -> Any:
    try:
        return instantiate(definition, device)
    except UnsupportedTowerError as error:
        raise InputError(f"encoder: model {definition.name} {error}; {CHOICE}") from error


def _towers(model: Any, definition: Definition, spec: WindowSpec) -> dict[str, Encoder]:
    def image(modality: Image) -> Encoder:
        tower = image_tower(model)
        check_image(modality, definition.name, picture_size(model))
        return tower

    def text(modality: Text) -> Encoder:
        check_text(modality, definition.name, model.context_length, model.vocab_size, text_end(model))
        return text_tower(model, modality.end)

    try:
        return towers_for(spec, image, text)
    except UnsupportedTowerError as error:
        raise InputError(f"encoder: model {definition.name} {error}; {CHOICE}") from error
