"""A model as a folder, whole or its adapter alone: weights and config.json, written whole and checked when read."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from rep_edge.config import Config, config_from
from rep_edge.errors import InputError
from rep_edge.files import write_files
from rep_edge.hub import Origin
from rep_edge.model import RepModel, build_model
from rep_edge.provenance import git_revision, package_versions
from rep_edge.signals import Text

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rep_edge.config import EncoderConfig
    from rep_edge.encoders.base import Encoder

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

FORMAT = 2
KNOWN = (1, 2)
"""Formats that are read; 1 has streams and Swin towers alone and names neither kind."""
WEIGHTS = "model.safetensors"
ADAPTER = "adapter.safetensors"
RECORD = "config.json"
EVALUATION = "evaluation.json"
"""Scores that `rep-edge evaluate` wrote, where they lie in the folder too."""
TOKENIZERS = "tokenizer*.json"
CHECKPOINT_FILES = (WEIGHTS, RECORD, TOKENIZERS, EVALUATION)
ADAPTER_FILES = (ADAPTER, RECORD, EVALUATION)
"""All that is read of a folder."""
ADAPTER_PARTS = ("memory.", "head.")
"""What stage 2 trains; all else are towers."""
WEIGHTS_OF_TOWERS = {"pretrained", "random_init", "tokenizer"}
"""Fields of an encoder's section that say where weights and vocabulary were taken from, not what they are."""


class CheckpointRecord(msgspec.Struct, frozen=True, kw_only=True):
    """config.json: all that is needed to build the model again, and where it came from.

    format: version of this layout; stage: without or with the adapter, or the adapter alone; labels: names in logit
    order. dataset: name of the data it was trained on; revision: git commit of the source, if any.
    versions: packages it was trained with; training: summary of the run (epochs, best accuracy, ...).
    tokenizers: text modalities whose tokenizer lies in the folder. towers: of an adapter alone, the `digest` of the
    towers it was trained on.
    """

    format: int
    stage: Literal["backbone", "adapted", "adapter"]
    config: Config
    labels: tuple[str, ...]
    dataset: str
    versions: dict[str, str]
    revision: str | None
    training: dict[str, object]
    tokenizers: tuple[str, ...] = ()
    towers: str | None = None


def save_pretrained(
    model: RepModel,
    folder: Path,
    *,
    training: Mapping[str, JSON],
    dataset: str = "",
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write the model's weights, record and tokenizers to `folder`, replacing what a former save left there.

    training: summary of the run for people; dataset: name of the data; beside: more files that appear with them, such
    as a README.md. Raises InputError where the folder cannot be written or holds an adapter alone.
    """
    _require_without(folder, ADAPTER)
    record = _record(model, model.stage, training, dataset, tokenizers=tuple(model.tokenizers))
    texts = {file: model.tokenizers[name].encode() for name, file in tokenizer_files(record.tokenizers).items()}
    _write(folder, {**texts, **(beside or {}), WEIGHTS: _bytes(model.state_dict())}, record)


def save_adapter(
    model: RepModel,
    folder: Path,
    *,
    training: Mapping[str, JSON],
    dataset: str = "",
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write memory and head alone to `folder`, with the digest of the towers they belong to.

    Otherwise as `save_pretrained`. Raises InputError where the model has no adapter or has towers of its own, and where
    the folder holds a whole model.
    """
    require_adapter(model)
    _require_without(folder, WEIGHTS)
    record = _record(model, "adapter", training, dataset, towers=digest(model.encoders))
    _write(folder, {**(beside or {}), ADAPTER: _bytes(_adapter_of(model))}, record)


def require_adapter(model: RepModel) -> None:
    """Raises InputError where memory and head are not all that was trained after the backbone."""
    if model.stage != "adapted":
        raise InputError("adapter: this model is a backbone and has none; adapt it first or save the whole model")
    if model.config.adapt.trainable in ("matched", "everything"):
        raise InputError(
            f"adapter: the towers learned as well (trainable: {model.config.adapt.trainable}), so that no other "
            "backbone fits it; save the whole model"
        )


def read_record(folder: Path) -> CheckpointRecord:
    """The record of a checkpoint or adapter. Raises InputError for a missing, newer or unreadable one."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder that rep-edge train or adapt wrote")
    path = folder / RECORD
    content = _read(path)
    try:
        plain = msgspec.json.decode(content, type=dict[str, Any])
        found = plain.get("format")
        if found not in KNOWN:
            known = " and ".join(map(str, KNOWN))
            raise InputError(f"{path}: format {found} is not known here (known: {known}); update rep-edge")
        return msgspec.convert({**plain, "config": config_from(plain.get("config"))}, CheckpointRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no checkpoint record ({error}); train again or restore the file") from error


def load_pretrained(folder: Path) -> RepModel:
    """The model of a checkpoint, on the CPU, in evaluation mode. Needs no network.

    Raises InputError: folder or file missing, file truncated, a newer format, an adapter alone, a tensor missing, left
    over or of another shape.
    """
    record = read_record(folder)
    if record.stage == "adapter":
        raise InputError(f"{folder}: holds an adapter alone; load its backbone and apply the adapter to that")
    path = folder / WEIGHTS
    weights = _read_weights(path)
    model = build_model(record.config, record.labels, _read_tokenizers(folder, record))
    if record.stage == "adapted":
        model.attach_adapter(record.config.adapter)
    check_weights(path, weights, model.state_dict())
    model.load_state_dict(weights)
    model.origin = _origin(folder, record)
    return model.eval()


def apply_adapter(backbone: RepModel, folder: Path) -> RepModel:
    """A model of the backbone's towers, copied, and the memory, head and labels of the adapter in `folder`.

    backbone: of either stage, loaded from a checkpoint or made anew from pre-trained towers. The result is on the CPU,
    in evaluation mode. Raises InputError as `load_pretrained` does, and where the adapter was trained on other towers.
    """
    record = read_record(folder)
    if record.stage != "adapter":
        raise InputError(f"{folder}: holds a whole model ({record.stage}), no adapter alone; load it as it is")
    path = folder / ADAPTER
    weights = _read_weights(path)
    _check_towers(backbone, folder, record)
    towers = cast("Mapping[str, Encoder]", dict(copy.deepcopy(backbone.encoders).cpu().items()))
    # Where the towers' weights and vocabulary come from is the backbone's to say.
    config = msgspec.structs.replace(record.config, encoder=backbone.config.encoder)
    model = RepModel(config, record.labels, towers, backbone.tokenizers)
    model.attach_adapter(record.config.adapter)
    check_weights(path, weights, _adapter_of(model))
    model.load_state_dict(weights, strict=False)
    model.origin = _origin(folder, record)
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


def digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights: names, dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for name, weights in module.state_dict().items():
        found.update(f"{name} {weights.dtype} {list(weights.shape)}\n".encode())
        found.update(weights.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def tokenizer_files(names: tuple[str, ...]) -> dict[str, str]:
    """Text modality -> file of its tokenizer."""
    return {name: "tokenizer.json" if len(names) == 1 else f"tokenizer.{name}.json" for name in names}


def read_evaluation(folder: Path) -> bytes | None:
    """The scores that lie in a folder, as they are; None where there are none."""
    return _read(folder / EVALUATION) if (folder / EVALUATION).exists() else None


def _record(
    model: RepModel,
    stage: Literal["backbone", "adapted", "adapter"],
    training: Mapping[str, JSON],
    dataset: str,
    *,
    tokenizers: tuple[str, ...] = (),
    towers: str | None = None,
) -> CheckpointRecord:
    return CheckpointRecord(
        format=FORMAT,
        stage=stage,
        config=model.config,
        labels=tuple(model.labels),
        dataset=dataset,
        versions=package_versions("torch", "timm", "open_clip_torch", "transformers"),
        revision=git_revision(),
        training=dict(training),
        tokenizers=tokenizers,
        towers=towers,
    )


def _require_without(folder: Path, weights: str) -> None:
    """Raises InputError where a folder holds the other kind of weights, which would be left without their record."""
    if (folder / weights).exists():
        raise InputError(f"{folder}: holds {weights}, of which {RECORD} there tells; choose another folder")


def _write(folder: Path, contents: Mapping[str, bytes], record: CheckpointRecord) -> None:
    """The record comes last: a folder without one is no checkpoint."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    write_files(folder, {**contents, RECORD: text})


def _adapter_of(model: RepModel) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if name.startswith(ADAPTER_PARTS)}


def _bytes(weights: Mapping[str, Tensor]) -> bytes:
    # Own memory for each tensor: safetensors refuses tensors that share theirs.
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()})


def _check_towers(backbone: RepModel, folder: Path, record: CheckpointRecord) -> None:
    """Raises InputError where an adapter was trained on other towers than these."""
    ours, theirs = backbone.config, record.config
    for section, one, other in (
        ("signals", ours.signals, theirs.signals),
        ("frontend", ours.frontend, theirs.frontend),
        ("encoder", _architecture(ours.encoder), _architecture(theirs.encoder)),
    ):
        if one != other:
            raise InputError(
                f"{folder}: the adapter was trained with another `{section}` section than the backbone has; "
                "give the backbone it was trained on"
            )
    found = digest(backbone.encoders)
    if found != record.towers:
        raise InputError(
            f"{folder}: the adapter was trained on other weights: its towers have SHA-256 {str(record.towers)[:12]}, "
            f"those given {found[:12]}; give the backbone it was trained on"
        )


def _architecture(encoder: EncoderConfig) -> dict[str, object]:
    """An encoder's section without what says where its weights came from."""
    fields: dict[str, object] = msgspec.to_builtins(encoder)
    return {name: value for name, value in fields.items() if name not in WEIGHTS_OF_TOWERS}


def _origin(folder: Path, record: CheckpointRecord) -> Origin:
    return Origin(dataset=record.dataset, training=record.training, evaluation=read_evaluation(folder))


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: is truncated or damaged ({error}); copy it again or train again") from error
    except OSError as error:
        raise _incomplete(path, error) from error


def _read_tokenizers(folder: Path, record: CheckpointRecord) -> dict[str, str]:
    """The tokenizers that a record names, by modality. Raises InputError for one that is missing or damaged."""
    texts = {m.name for m in record.config.signals.modalities if isinstance(m, Text)}
    for name in record.tokenizers:
        if name not in texts:
            raise InputError(f"{folder / RECORD}: tokenizer of {name}, which is no text; restore the file")
    return {name: _tokenizer(folder / file) for name, file in tokenizer_files(record.tokenizers).items()}


def _tokenizer(path: Path) -> str:
    content = _read(path)
    try:
        msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        return content.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is truncated or damaged ({error}); copy it again") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _incomplete(path, error) from error


def _incomplete(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read ({error.strerror or error}); the checkpoint is not complete")
