"""What Triton must know of a model: config.pbtxt, built as the message that Triton's own schema describes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from rep_edge.errors import MissingExtraError
from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import Modality, Text

LABELS_FILE = "labels.txt"
QUEUE_DELAY_US = 500
"""How long a window may wait for others to share its batch."""
ROUTERS = 2
"""Routers that run side by side: one takes requests apart while the other waits for its answers."""


class Kind(NamedTuple):
    """What runs a graph in Triton. platform, backend: Triton's names; file: of the graph in its version folder."""

    platform: str
    backend: str
    file: str


ONNX = Kind("onnxruntime_onnx", "onnxruntime", "model.onnx")
PLAN = Kind("tensorrt_plan", "tensorrt", "model.plan")


class Route(NamedTuple):
    """Where the router sends the windows of one pattern, and the divisor of the logits that come back."""

    model: str
    temperature: float


def load_schema() -> ModuleType:
    """Triton's messages. Raises MissingExtraError without tritonclient and its gRPC half."""
    try:
        from tritonclient.grpc import model_config_pb2
    except (ImportError, RuntimeError) as error:  # It raises RuntimeError where grpcio is missing.
        raise MissingExtraError("triton", "tritonclient") from error
    schema: ModuleType = model_config_pb2
    return schema


def graph_config(
    name: str, kind: Kind, live: Sequence[Modality], manifest: Manifest, max_batch: int, device: str
) -> bytes:
    """config.pbtxt of the model that runs the graph of the live modalities. device: "auto", "gpu" or "cpu"."""
    schema = load_schema()
    config = schema.ModelConfig(
        name=name, platform=kind.platform, backend=kind.backend, default_model_filename=kind.file
    )
    config.max_batch_size = max_batch
    for modality in live:
        config.input.add(name=modality.name, data_type=_type(schema, modality), dims=modality.shape)
    _add_logits(schema, config, "logits", manifest)
    config.instance_group.add(count=1, kind=getattr(schema.ModelInstanceGroup, f"KIND_{device.upper()}"))
    sizes = _preferred(max_batch)
    if sizes:
        config.dynamic_batching.preferred_batch_size.extend(sizes)
        config.dynamic_batching.max_queue_delay_microseconds = QUEUE_DELAY_US
    for size in (1, *sizes):
        _add_warm_up(schema, config, live, size)
    return _text(config)


def router_config(
    name: str, manifest: Manifest, routes: Mapping[str, Route], max_batch: int, extra: Mapping[str, str]
) -> bytes:
    """config.pbtxt of the model that clients call: every window optional. extra: further parameters, for people.

    It is not warmed: its models may not be loaded yet, and they warm themselves.
    """
    schema = load_schema()
    config = schema.ModelConfig(name=name, backend="python", max_batch_size=max_batch)
    for modality in manifest.modalities:
        kind = _type(schema, modality)
        config.input.add(name=modality.name, data_type=kind, dims=modality.shape, optional=True)
    _add_answers(schema, config, manifest)
    config.instance_group.add(count=ROUTERS, kind=schema.ModelInstanceGroup.KIND_CPU)
    if max_batch > 1:
        config.dynamic_batching.SetInParent()
    told = {
        "task": manifest.task,
        "labels": json.dumps(manifest.labels),
        "vocabularies": json.dumps({m.name: m.vocabulary for m in manifest.modalities if isinstance(m, Text)}),
        "routes": json.dumps({pattern: route._asdict() for pattern, route in routes.items()}),
        **extra,
    }
    for key, value in told.items():
        config.parameters[key].string_value = value
    return _text(config)


def _add_answers(schema: ModuleType, config: Any, manifest: Manifest) -> None:
    """What the router makes of the graphs' output, by task."""
    if manifest.task == "regression":
        _add_logits(schema, config, "value", manifest)
    else:
        for output in ("probabilities", "logits"):
            _add_logits(schema, config, output, manifest)
    config.output.add(name="label", data_type=schema.TYPE_STRING, dims=[1])
    config.output.add(name="label_index", data_type=schema.TYPE_INT32, dims=[1])
    if manifest.task == "multilabel":
        config.output.add(name="labels", data_type=schema.TYPE_STRING, dims=[len(manifest.labels)])
    config.output.add(name="pattern", data_type=schema.TYPE_STRING, dims=[1])


def _add_logits(schema: ModuleType, config: Any, name: str, manifest: Manifest) -> None:
    """An output as wide as the graphs'. A value's labels name its sides, so that no file of labels belongs to it."""
    file = LABELS_FILE if manifest.outputs == len(manifest.labels) else None
    config.output.add(name=name, data_type=schema.TYPE_FP32, dims=[manifest.outputs], label_filename=file)


def _preferred(max_batch: int) -> list[int]:
    """The powers of two up to the largest batch, and that one."""
    powers = [1 << exponent for exponent in range(1, max_batch.bit_length())]
    return sorted({*powers, max_batch} - {1})


def _add_warm_up(schema: ModuleType, config: Any, live: Sequence[Modality], size: int) -> None:
    """A batch of zeros before the model counts as loaded, so that no client waits for a first run of that size."""
    sample = config.model_warmup.add(name=f"batch of {size}", batch_size=size)
    for modality in live:
        window = sample.inputs[modality.name]
        window.data_type, window.zero_data = _type(schema, modality), True
        window.dims.extend(modality.shape)


def _type(schema: ModuleType, modality: Modality) -> int:
    kind: int = {"float32": schema.TYPE_FP32, "int64": schema.TYPE_INT64}[modality.dtype]
    return kind


def _text(config: Any) -> bytes:
    from google.protobuf import text_format

    return bytes(text_format.MessageToString(config, as_utf8=True).encode())
