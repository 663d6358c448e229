"""A trained model as a folder: model.safetensors and config.json, written whole and checked when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load, save

from rep_edge.config import Config
from rep_edge.errors import InputError
from rep_edge.files import write_files
from rep_edge.model import build_model
from rep_edge.provenance import git_revision, package_versions

if TYPE_CHECKING:
    from torch import Tensor

    from rep_edge.model import RepModel

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

FORMAT = 1
WEIGHTS = "model.safetensors"
RECORD = "config.json"


class CheckpointRecord(msgspec.Struct, frozen=True, kw_only=True):
    """config.json: all that is needed to build the model again, and where it came from.

    format: version of this layout; stage: without or with the adapter; labels: class names in logit order.
    dataset: name of the data it was trained on; revision: git commit of the source, if any.
    versions: packages it was trained with; training: summary of the run (epochs, best accuracy, ...).
    """

    format: int
    stage: Literal["backbone", "adapted"]
    config: Config
    labels: tuple[str, ...]
    dataset: str
    versions: dict[str, str]
    revision: str | None
    training: dict[str, object]


def save_pretrained(model: RepModel, folder: Path, *, training: Mapping[str, JSON], dataset: str = "") -> None:
    """Write the model's weights and record to `folder`, replacing what a former save left there.

    training: summary of the run for people; dataset: name of the data. Raises InputError where the folder cannot be
    written.
    """
    record = CheckpointRecord(
        format=FORMAT,
        stage=model.stage,
        config=model.config,
        labels=tuple(model.labels),
        dataset=dataset,
        versions=package_versions("torch", "timm"),
        revision=git_revision(),
        training=dict(training),
    )
    # Own memory for each tensor: safetensors refuses tensors that share theirs.
    weights = {name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()}
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    write_files(folder, {WEIGHTS: save(weights), RECORD: text})


def read_record(folder: Path) -> CheckpointRecord:
    """The record of a checkpoint. Raises InputError for a missing, newer or unreadable one."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder that rep-edge train or adapt wrote")
    path = folder / RECORD
    content = _read(path)
    try:
        found = msgspec.json.decode(content, type=dict[str, object]).get("format")
        if found != FORMAT:
            raise InputError(f"{path}: format {found} is not known here (known: {FORMAT}); update rep-edge")
        return msgspec.json.decode(content, type=CheckpointRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no checkpoint record ({error}); train again or restore the file") from error


def load_pretrained(folder: Path) -> RepModel:
    """The model of a checkpoint, on the CPU, in evaluation mode.

    Raises InputError: folder or file missing, file truncated, a newer format, a tensor missing, left over or of another
    shape.
    """
    record = read_record(folder)
    path = folder / WEIGHTS
    try:
        weights = load(_read(path))
    except SafetensorError as error:
        raise InputError(f"{path}: is truncated or damaged ({error}); copy it again or train again") from error
    model = build_model(record.config, record.labels)
    if record.stage == "adapted":
        model.attach_adapter(record.config.adapter)
    check_weights(path, weights, model.state_dict())
    model.load_state_dict(weights)
    return model.eval()


def check_weights(path: Path, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises InputError that names the first tensor which is missing, of another shape, or unknown to the model."""
    for name, tensor in expected.items():
        if name not in weights:
            raise InputError(f"{path}: tensor {name} is missing; the weights are of another model than {RECORD} says")
        if weights[name].shape != tensor.shape:
            found, wanted = list(weights[name].shape), list(tensor.shape)
            raise InputError(f"{path}: tensor {name} has shape {found}, but the model of {RECORD} needs {wanted}")
    for name in weights:
        if name not in expected:
            raise InputError(f"{path}: tensor {name} is unknown to the model that {RECORD} describes")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); the checkpoint is not complete") from error
