"""The model card: README.md with the metadata that the Hub reads, made of what the model itself knows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rep_edge.config import ClipConfig, EncoderConfig, MultConfig
from rep_edge.errors import InputError
from rep_edge.signals import FeatureSequence, Image, Modality, Stream, Text

if TYPE_CHECKING:
    from torch import nn

    from rep_edge.model import RepModel

OWN_DATA = ("simulated", "recordings")
"""Sources that are no published data set."""
HUB_METRICS = {
    "accuracy": "accuracy",
    "auroc": "roc_auc",
    "pearson": "pearsonr",
    "mae": "mae",
    **dict.fromkeys(("macro_f1", "micro_f1", "weighted_f1", "f1_nonneg", "f1_nonzero", "f1_positive"), "f1"),
    **dict.fromkeys(("acc2_nonneg", "acc2_nonzero", "acc2_positive", "acc7", "acc5"), "accuracy"),
}
"""Metrics by the names that the Hub has for them; those it has none for are left out."""
READ = {
    "multiclass": "probabilities = output.logits.softmax(-1)  # [B, labels]",
    "multilabel": "probabilities = output.logits.sigmoid()  # [B, labels]",
    "regression": "value = output.logits[:, 0]  # [B]",
}
"""Task -> what is made of the output."""
PREPARED = (
    "`rep_edge.runtime.inputs` prepares pictures and texts as training did: `images.prepare_image` and "
    "`texts.Tokenizer`, the latter made of `model.tokenizers`."
)
LISTED_PATTERNS = 15


def model_card(model: RepModel, name: str, evaluation: bytes | None, metadata: Mapping[str, object]) -> str:
    """The card of a whole model, as Markdown.

    name: of the folder or repository; evaluation: content of an evaluation.json; metadata: entries that are added to
    the card's or replace them, such as license. Raises InputError for an evaluation that is none.
    """
    load = [f"model = RepModel.from_pretrained({json.dumps(name)})"]
    return _card(model, name, evaluation, {**_metadata(model), **metadata}, load)


def adapter_card(model: RepModel, name: str, evaluation: bytes | None, metadata: Mapping[str, object]) -> str:
    """The card of a model's adapter alone; otherwise as `model_card`."""
    load = [
        'backbone = RepModel.from_pretrained("...")  # the one that the adapter was trained on',
        f"model = backbone.with_adapter({json.dumps(name)})",
    ]
    found = {**_metadata(model), "tags": [*_tags(model), "adapter"], **metadata}
    alone = (
        "This is the adapter alone: memory and head. `config.json` holds the SHA-256 of the towers that it was trained "
        "on, and other towers are refused."
    )
    return _card(model, name, evaluation, found, load, alone)


def _card(
    model: RepModel,
    name: str,
    evaluation: bytes | None,
    metadata: Mapping[str, object],
    load: Sequence[str],
    *remarks: str,
) -> str:
    sections = [
        f"# {_text(name)}",
        _summary(model),
        *remarks,
        "## What it takes",
        *_inputs(model),
        "## Use",
        *_use(model, load),
        "## How it was trained",
        _bullets(_training(model)),
        "## Scores",
        *_scores(model, evaluation),
        "## Size",
        *_size(model),
        "## Limits",
        _bullets(_limits(model)),
    ]
    return f"---\n{msgspec.yaml.encode(metadata).decode()}---\n\n" + "\n\n".join(sections) + "\n"


def _metadata(model: RepModel) -> dict[str, object]:
    """What the Hub reads. The license is the user's to name."""
    known = {metric: HUB_METRICS[metric] for metric in model.task.metrics if metric in HUB_METRICS}
    if model.config.task == "multiclass" and len(model.labels) != 2:
        del known["auroc"]
    found: dict[str, object] = {
        "library_name": "rep-edge",
        "tags": _tags(model),
        "metrics": list(dict.fromkeys(known.values())),
    }
    source = _kind(model.config.data)
    return found if source in OWN_DATA else {**found, "datasets": [source]}


def _tags(model: RepModel) -> list[str]:
    rep = model.stage == "adapted" and model.config.adapter.memory in ("fed", "learned")
    return ["missing-modality", "multimodal", *(["rep"] if rep else []), _kind(model.config.encoder)]


def _summary(model: RepModel) -> str:
    names = " and ".join(f"`{name}`" for name in model.spec.names)
    missing = {
        "backbone": "It was trained with all of them present and not taught to do without any.",
        "adapted": "It was trained to answer while some of them are missing.",
    }
    return f"Takes {names}, and {_says(model)}. {missing[model.stage]}"


def _says(model: RepModel) -> str:
    if model.config.task == "regression":
        below, above = model.labels
        return f"gives a value, below zero for `{_text(below)}`, above it for `{_text(above)}`"
    which, fits = {"multiclass": ("which one", "fits"), "multilabel": ("which", "fit")}[model.config.task]
    return f"says {which} of {len(model.labels)} labels {fits}"


def _inputs(model: RepModel) -> list[str]:
    columns = ("modality", "kind", "one window", "what it is", "while missing")
    rows = [(f"`{m.name}`", _kind(m), f"{m.dtype} {list(m.shape)}", *_description(m)) for m in model.spec.modalities]
    patterns = [f"`{model.spec.pattern_name(pattern)}`" for pattern in model.spec.patterns()]
    live = ", ".join(patterns) if len(patterns) <= LISTED_PATTERNS else f"{len(patterns)}, all but the empty one"
    return [
        _table(columns, rows),
        f"Sets of live modalities that it answers for: {live}.",
        f"Labels: {', '.join(f'`{_text(label)}`' for label in model.labels)}.",
    ]


def _description(modality: Modality) -> tuple[str, str]:
    """What a window holds, and what stands for a missing one."""
    match modality:
        case Stream():
            unit = "" if modality.unit == "1" else f", {_text(modality.unit)}"
            samples = f"{modality.window_s:g} s at {modality.rate_hz:g} Hz{unit}"
            return samples, f"{modality.placeholder:g} everywhere"
        case Image():
            cut = {"shortest": "shorter side scaled, centre cut out", "squash": "both sides scaled"}[modality.resize]
            return f"red, green, blue; {cut}; normalised", f"{modality.placeholder:g} everywhere, normalised"
        case Text():
            return f"ids of tokens, padded with {modality.pad}", "the empty text"
        case FeatureSequence():
            return "feature vectors in order", f"{modality.placeholder:g} everywhere"


def _use(model: RepModel, load: Sequence[str]) -> list[str]:
    names = model.spec.names
    windows = ", ".join(f'"{name}": {name}' for name in names)
    live = ", ".join(f'"{name}"' for name in names)
    python = [
        "from rep_edge.model import RepModel",
        "",
        *load,
        f"output = model({{{windows}}}, frozenset({{{live}}}))",
        READ[model.config.task],
        'model.save_pretrained("model")  # for the command below',
    ]
    return [
        "Windows are as in the table, with the batch in front. What is missing is left out of both arguments.",
        _fence("python", python),
        *([PREPARED] if any(isinstance(m, (Image, Text)) for m in model.spec.modalities) else []),
        "One graph for each set of live modalities, for a device without PyTorch:",
        _fence("", ["rep-edge export model --out bundle"]),
    ]


def _training(model: RepModel) -> Iterable[str]:
    config, training = model.config, model.origin.training
    yield f"Data: {_text(model.origin.dataset) or 'not recorded'}."
    yield f"Towers: {_towers(config.encoder)}."
    if model.stage == "backbone":
        yield f"All modalities were present; towers that learned: {_towers_learned(model)}."
    else:
        adapter = config.adapter
        slots = "" if adapter.memory == "none" else f", {adapter.slots} slots in {adapter.depth} blocks"
        yield f"On a trained backbone: memory `{adapter.memory}`{slots}; towers that learned: {_towers_learned(model)}."
        lost = " or ".join(f"`{_text(name)}`" for name in config.adapt.missing) or "modalities"
        yield f"A share of {config.adapt.missing_rate:g} of the training windows lost {lost}."
    if "epochs" in training:
        yield f"Epochs: {_text(training['epochs'])}, the best {_text(training.get('best_epoch', 'not recorded'))}."
    yield f"Seed: {config.seed}."


def _towers(encoder: EncoderConfig) -> str:
    match encoder:
        case ClipConfig():
            weights = "none" if encoder.random_init else _shown(encoder.pretrained or "the model's own")
            return f"clip, {_shown(encoder.model)} of {encoder.library}, started from weights: {weights}"
        case MultConfig(pretrained=str(folder)):
            return f"mult, started from weights: {_shown(folder)}"
    return _kind(encoder)


def _shown(name: str) -> str:
    """A name, and of an absolute path its last part: a card tells nothing of its author's machine."""
    if name.lstrip().startswith("{"):
        return "a model described in config.json"
    return _text(Path(name).name if Path(name).is_absolute() else name)


def _scores(model: RepModel, evaluation: bytes | None) -> list[str]:
    training = model.origin.training
    found = []
    # The name before there were other metrics.
    score = training.get("validation_score", training.get("validation_accuracy"))
    if isinstance(score, (int, float)):
        found.append(f"Validation {_text(training.get('metric', 'accuracy'))} of the best epoch: {score:.3f}.")
    if evaluation is None:
        return [*found, "No test scores were saved with it; `rep-edge evaluate` makes them."]
    return [
        *found,
        "Test scores by live modalities, each method as `rep-edge evaluate` names it:",
        _evaluated(evaluation),
    ]


def _evaluated(evaluation: bytes) -> str:
    """A line for each method and pattern, the mean over the seeds."""
    from rep_edge.evaluation import Row

    try:
        rows = [row for row in msgspec.json.decode(evaluation, type=list[Row]) if row.missing_rate is None]
    except msgspec.MsgspecError as error:
        raise InputError(f"evaluation.json: is no evaluation ({error}); evaluate again or remove it") from error
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.scores))
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.method, row.setting), []).append(row)
    lines = [
        (_text(method), f"`{_text(setting)}`", *(_mean([row.scores.get(metric) for row in cell]) for metric in metrics))
        for (method, setting), cell in cells.items()
    ]
    return _table(("method", "live", *metrics), lines)


def _mean(scores: Sequence[float | None]) -> str:
    known = [score for score in scores if score is not None]
    return f"{sum(known) / len(known):.3f}" if known else ""


def _size(model: RepModel) -> list[str]:
    towers, memory, head = (_count(part) for part in (model.encoders, model.memory, model.head))
    rows = [("towers", towers, _towers_learned(model)), ("memory", memory, "yes"), ("head", head, "yes")]
    lines = [(part, f"{count:,}", learned) for part, count, learned in rows if count]
    found = [_table(("part", "parameters", "learned"), lines)]
    if model.stage == "adapted":
        found.append(f"Memory and head have {100 * (memory + head) / towers:.2g} % of the towers' parameters.")
    return found


def _towers_learned(model: RepModel) -> str:
    """In the last stage of training."""
    if model.stage == "backbone":
        return "no" if model.config.train.trainable == "head" else "yes"
    return {"everything": "yes", "matched": "in part"}.get(model.config.adapt.trainable, "no")


def _limits(model: RepModel) -> Iterable[str]:
    yield "It was judged on data like that of its training alone; elsewhere it may do worse."
    yield "At least one modality must be live."
    if model.stage == "backbone":
        yield "A constant stands for a missing modality, which it was not taught to ignore."
    if model.config.task == "multiclass":
        yield "It always chooses one of its labels, also where none of them fits."
        yield "Its probabilities are as training left them; `rep-edge calibrate` corrects those of a bundle."


def _kind(part: msgspec.Struct) -> str:
    return str(part.__struct_config__.tag)


def _count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _fence(language: str, lines: Sequence[str]) -> str:
    return "\n".join((f"```{language}", *lines, "```"))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _text(value: object) -> str:
    """On one line, without what would end a cell, a code span or a tag."""
    return " ".join(str(value).translate(str.maketrans("|`<>", "/'()")).split())
