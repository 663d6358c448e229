"""The towers of a CLIPModel or a SiglipModel of Hugging Face transformers, for REP to run block by block."""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from rep_edge.config import ClipConfig
from rep_edge.encoders.base import Encoder
from rep_edge.encoders.clip_signals import check_image, check_preparation, check_text, towers_for
from rep_edge.encoders.clip_weights import load_weights, read_weights
from rep_edge.encoders.huggingface_folder import Definition, read_definition, weight_files
from rep_edge.encoders.huggingface_parts import image_tower, text_end, text_tower
from rep_edge.encoders.takeover import UnsupportedTowerError, materialised
from rep_edge.errors import InputError
from rep_edge.signals import Image, Text, WindowSpec


def build_huggingface_towers(config: ClipConfig, spec: WindowSpec) -> dict[str, Encoder]:
    """The towers with the weights of the folder that `config` names: images get the image tower, texts the text tower.

    Only .safetensors files are read; no code of the folder is run and no network is asked. Raises InputError where
    signals and model do not fit, where it is no such model, and where its weights are lacking, damaged or another
    model's.
    """
    definition = read_definition(config.model)
    # All that can be wrong without weights is told before they are drawn or read.
    _towers(_model(definition, "meta"), definition, spec)
    if config.random_init:
        return _towers(_model(definition, "cpu"), definition, spec)
    check_preparation(spec, definition.name, definition.preparation)
    files = weight_files(definition)
    model = _model(definition, "meta")
    weights = {name: tensor for file in files for name, tensor in read_weights(file).items()}
    load_weights(model, weights, files[0], definition.name)
    return _towers(model, definition, spec)


def huggingface_architecture(config: ClipConfig, spec: WindowSpec) -> dict[str, Encoder]:
    """The same towers without values, for a checkpoint's: no weights are read.

    Raises InputError where signals and model do not fit, and where it is no such model.
    """
    definition = read_definition(config.model)
    towers = _towers(_model(definition, "meta"), definition, spec)
    return {name: materialised(tower) for name, tower in towers.items()}


def self_contained(config: ClipConfig) -> ClipConfig:
    """`config` with the text of the folder's config.json in place of its path, so that it says all by itself."""
    return msgspec.structs.replace(config, model=read_definition(config.model).text)


def _model(definition: Definition, device: str) -> Any:
    import transformers

    kinds: dict[str, tuple[Any, Any]] = {
        "clip": (transformers.CLIPConfig, transformers.CLIPModel),
        "siglip": (transformers.SiglipConfig, transformers.SiglipModel),
    }
    configuration, kind = kinds[definition.kind]
    try:
        with torch.device(device):
            return kind(configuration.from_dict(definition.config))
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, AssertionError, ZeroDivisionError) as error:
        raise InputError(
            f"encoder: model {definition.name} is not one that transformers can build ({error})"
        ) from error


def _towers(model: Any, definition: Definition, spec: WindowSpec) -> dict[str, Encoder]:
    def image(modality: Image) -> Encoder:
        check_image(modality, definition.name, model.config.vision_config.image_size)
        return image_tower(model)

    def text(modality: Text) -> Encoder:
        texts = model.config.text_config
        check_text(modality, definition.name, texts.max_position_embeddings, texts.vocab_size, text_end(model))
        return text_tower(model, modality.end)

    try:
        return towers_for(spec, image, text)
    except UnsupportedTowerError as error:
        raise InputError(f"encoder: model {definition.name} {error}; choose a CLIPModel or a SiglipModel") from error
