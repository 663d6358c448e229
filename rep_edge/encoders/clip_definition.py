"""Which open_clip model a configuration means: one that open_clip knows by name, or one described in JSON."""

from __future__ import annotations

import json
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rep_edge.encoders.takeover import UnsupportedTowerError
from rep_edge.errors import InputError

PARTS = ("embed_dim", "vision_cfg", "text_cfg")


class Definition(NamedTuple):
    """name: the model, for messages; tags: open_clip's names of its weights; config: its sizes; preparation: of the
    pictures (mean, std, interpolation, resize_mode), {} where unknown."""

    name: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    preparation: dict[str, Any]


def read_definition(model: str) -> Definition:
    """model: a name that open_clip knows, the path of a .json file, or such a file's text. Raises InputError."""
    if model.lstrip().startswith("{"):
        return _described("its description", model)
    if model.endswith(".json"):
        return _described(model, file_text(model))
    return _known(model.replace("/", "-"))


def file_text(path: str) -> str:
    """A description's text. Raises InputError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"encoder: model {path} cannot be read ({error}); name a file that is there") from error


def instantiate(definition: Definition, device: str) -> Any:
    """The open_clip model with random weights, or on "meta" without any.

    Raises InputError where the description makes none, and UnsupportedTowerError for parts that cannot be run block by
    block.
    """
    import open_clip

    config = deepcopy(definition.config)
    if "multimodal_cfg" in config:
        raise UnsupportedTowerError("writes captions (CoCa)")
    if config["text_cfg"].get("hf_model_name"):
        raise UnsupportedTowerError("has a language model of another library for texts")
    # Weights of the trunk alone are not what was asked for.
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    try:
        with torch.device(device):
            return kind(**config)
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise InputError(f"encoder: model {definition.name} is not one that open_clip can build ({error})") from error


def _known(name: str) -> Definition:
    import open_clip

    names = open_clip.list_models()
    if name not in names:
        raise InputError(f"encoder: model {name} is not known to open_clip; {_near(name, names)}")
    return Definition(name, tuple(open_clip.list_pretrained_tags_by_model(name)), open_clip.get_model_config(name), {})


def _near(name: str, names: list[str]) -> str:
    by_lower = {known.lower(): known for known in names}
    near = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5)]
    return (
        f"did you mean {' or '.join(near)}?"
        if near
        else "name one of its models, ViT-B-16 for example, or a .json file"
    )


def _described(name: str, text: str) -> Definition:
    try:
        plain = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"encoder: model {name} is not JSON ({error}); name an open_clip model configuration"
        ) from error
    config = plain.get("model_cfg", plain) if isinstance(plain, dict) else {}
    lacking = [part for part in PARTS if part not in config]
    if lacking or not (isinstance(config["vision_cfg"], dict) and isinstance(config["text_cfg"], dict)):
        wanted = ", ".join(PARTS)
        raise InputError(f"encoder: model {name} is no open_clip model configuration; it needs {wanted} at its top")
    return Definition(name, (), config, plain.get("preprocess_cfg") or {})
