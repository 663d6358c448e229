"""Weights of an open_clip model: found by tag or file, read without running anything that is in them, and checked."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rep_edge.encoders.clip_definition import Definition
from rep_edge.errors import InputError

BESIDE_TOWERS = ("logit_scale", "logit_bias", "position_ids")
"""Ends of the names of tensors that no tower holds."""
PICKLES = (".pt", ".pth", ".bin")


def tag_of(definition: Definition, pretrained: str | None) -> str | None:
    """The open_clip tag that `pretrained` is, None where it is a file. Raises InputError where it is neither."""
    one_of = f" (one of {', '.join(definition.tags)})" if definition.tags else ""
    if pretrained is None:
        tag = f"<tag>{one_of} or " if definition.tags else ""
        raise InputError(
            f"encoder: {definition.name} has no weights: give pretrained: {tag}a local file, or --random-init"
        )
    if pretrained in definition.tags:
        return pretrained
    if not Path(pretrained).is_file():
        raise InputError(
            f"encoder: pretrained {pretrained} is neither a file nor a tag of {definition.name}{one_of}; change it"
        )
    return None


def preparation_of(definition: Definition, tag: str | None) -> dict[str, Any]:
    """How pictures are prepared for these weights: mean, std, interpolation, resize_mode; {} where unknown.

    Raises InputError where the weights were trained with another activation than the model has.
    """
    import open_clip

    if tag is None:
        return definition.preparation
    known: dict[str, Any] = open_clip.get_pretrained_cfg(definition.name, tag)
    quick = bool(known.get("quick_gelu"))
    if quick != bool(definition.config.get("quick_gelu")):
        twin = definition.name.removesuffix("-quickgelu") + ("-quickgelu" if quick else "")
        gelu = "QuickGELU" if quick else "GELU"
        raise InputError(f"encoder: weights {tag} were trained with {gelu}; choose model: {twin}")
    return known


def fetched(definition: Definition, tag: str) -> Path:
    """The file of a tag's weights, out of the local cache or the network. Raises InputError where there is none."""
    import open_clip

    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(definition.name, tag)))
    # Whatever goes wrong on the way, and each library on it has errors of its own, has the same remedy.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        script = (
            "import open_clip; "
            f"print(open_clip.download_pretrained(open_clip.get_pretrained_cfg('{definition.name}', '{tag}')))"
        )
        raise InputError(
            f"encoder: weights {tag} of {definition.name} cannot be fetched ({reason}); on a machine with network run "
            f' python -c "{script}" , copy the file that it names to this machine and give it as pretrained'
        ) from error


def renamed(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights of open_clip's CLIP under the names of its CustomTextCLIP, where the model is one."""
    from open_clip.model import convert_to_custom_text_state_dict

    if "positional_embedding" in weights and hasattr(model, "text"):
        converted: dict[str, Tensor] = convert_to_custom_text_state_dict(weights)
        return converted
    return weights


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, float32. Raises InputError for a damaged file, one of another kind or an unsafe one."""
    if path.suffix == ".safetensors":
        return _floats(path, _read_safetensors(path))
    if path.suffix not in PICKLES:
        raise InputError(f"{path}: is no file of weights; give a .safetensors, {', '.join(PICKLES)} file")
    if _is_program(path):
        raise InputError(
            f"{path}: is a TorchScript archive, a program and not weights alone; give the .safetensors file of the "
            "same model, which open_clip fetches for the tag openai"
        )
    return _floats(path, _read_pickle(path))


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Give a model that was built without values its weights, without copies. Raises InputError for another model's."""
    weights = _of_towers(weights)
    expected = _of_towers(model.state_dict())
    for tensor, value in expected.items():
        if tensor not in weights:
            raise InputError(f"{path}: is of another model than {name} (tensor {tensor} is missing)")
        if weights[tensor].shape != value.shape:
            found, wanted = list(weights[tensor].shape), list(value.shape)
            raise InputError(f"{path}: is of another model than {name} (tensor {tensor} is {found}, not {wanted})")
    for tensor in weights:
        if tensor not in expected:
            raise InputError(f"{path}: is of another model than {name} (tensor {tensor} is unknown to it)")
    model.load_state_dict(weights, strict=False, assign=True)


def _of_towers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.endswith(BESIDE_TOWERS)}


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # Memory of their own: they would change with the file, and lie at odd addresses.
        return {name: tensor.clone() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: is damaged ({_first_line(error)}); copy or fetch it again") from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: is damaged, or holds more than tensors and could run code, so that it is not opened; give a "
            ".safetensors file, or save the model's state_dict alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise InputError(f"{path}: is damaged ({_first_line(error)}); copy or fetch it again") from error


def _is_program(path: Path) -> bool:
    """Whether a file is a TorchScript archive: those have a folder of code beside their tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _floats(path: Path, found: object) -> dict[str, Tensor]:
    """The tensors of a state_dict, or of one inside a training checkpoint, with plain names."""
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(f"{path}: holds no weights; give a file with a model's state_dict")
    return {
        str(name).removeprefix("module."): value.float() if value.is_floating_point() else value
        for name, value in found.items()
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
