"""A CLIPModel or SiglipModel in a folder: what its files say, read without running anything that is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rep_edge.errors import InputError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of interpolations, as preprocessor_config.json has them."""


class Definition(NamedTuple):
    """name: the model, for messages; folder: None where `text`, that of config.json, is all there is; kind: its
    model_type; config: its sizes; preparation: of the pictures (mean, std, interpolation, resize_mode), {} where
    unknown."""

    name: str
    folder: Path | None
    text: str
    kind: Literal["clip", "siglip"]
    config: dict[str, Any]
    preparation: dict[str, Any]


def read_definition(model: str) -> Definition:
    """model: a folder, the name of one in the local cache of the hub, or the text of a config.json.

    Raises InputError.
    """
    if model.lstrip().startswith("{"):
        return _definition("its description", None, model, {})
    folder = Path(model) if Path(model).is_dir() else _cached(model)
    path = folder / "config.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"encoder: model {path} cannot be read ({error}); give a folder with a config.json") from error
    return _definition(model, folder, text, _preparation(folder / "preprocessor_config.json"))


def weight_files(definition: Definition) -> list[Path]:
    """The .safetensors files of the folder. Raises InputError where there are none."""
    folder = definition.folder
    if folder is None:
        raise InputError("encoder: a description has no weights: give the model's folder, or --random-init")
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        names = _json(folder / INDEX).get("weight_map", {})
        # A name with a path in it could lead out of the folder.
        files = [folder / Path(name).name for name in sorted(set(names.values()))] if isinstance(names, dict) else []
        if files and all(file.is_file() for file in files):
            return files
        raise InputError(f"{folder / INDEX}: names files that are not there; copy the whole folder again")
    raise InputError(
        f"encoder: model {definition.name} has no weights: put {WEIGHTS} into its folder (other formats are not "
        "opened), or --random-init"
    )


def _cached(model: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, local_files_only=True))
    # A name that is none and a cache without it are told by errors of several kinds.
    except Exception as error:
        raise InputError(
            f"encoder: model {model} is neither a folder nor in the local cache; on a machine with network run "
            f" hf download {model} --local-dir FOLDER , copy the folder to this machine and give it as model"
        ) from error


def _definition(name: str, folder: Path | None, text: str, preparation: dict[str, Any]) -> Definition:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"encoder: model {name}: config.json is not JSON ({error}); copy it again") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in ("clip", "siglip"):
        raise InputError(f"encoder: model {name} is of type {kind}; choose a CLIPModel or a SiglipModel")
    return Definition(name, folder, text, kind, config, preparation)


def _preparation(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    plain = _json(path)
    size = plain.get("size")
    whole = isinstance(size, dict) and "height" in size
    return {
        "mean": plain.get("image_mean"),
        "std": plain.get("image_std"),
        "interpolation": RESAMPLING.get(plain.get("resample", -1)),
        "resize_mode": "squash" if whole else "shortest" if plain.get("do_center_crop") else None,
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy it again") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: is no JSON object; copy it again")
    return plain
