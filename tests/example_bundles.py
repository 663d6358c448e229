"""Bundles of examples that stand alone: pictures and texts through a graph of known answers, in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import onnx
from bundles import LABELS, WEIGHTS, record
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rep_edge.calibration.noise import noise
from rep_edge.calibration.weights import share_weights
from rep_edge.runtime.manifest import SCHEMA_VERSION, GraphRecord, Manifest, ParityRecord, Provenance
from rep_edge.signals import Example, FeatureSequence, Image, Modality, Text, WindowSpec

Task = Literal["multiclass", "multilabel", "regression"]
Windows = dict[str, Example]

IMAGE = Image(name="image", size=8)
TEXT = Text(name="text", tokens=6, vocabulary=32, placeholder=(30, 31), end=31)
IMAGE_TEXT = WindowSpec(modalities=(IMAGE, TEXT))
FEATURES = WindowSpec(
    modalities=(
        FeatureSequence(name="words", length=5, width=7),
        FeatureSequence(name="audio", length=9, width=4),
        FeatureSequence(name="vision", length=3, width=6),
    )
)
SIDES = ("negative", "positive")
"""Labels of a regression."""
TOKENIZER = "tokenizer.text.json"

_WORDS = {"?": 0, "a": 1, "the": 2, "cat": 3, "dog": 4, "sits": 5, "runs": 6, "on": 7, "under": 8, "table": 9}
_MARKS = {"<start>": 30, "<end>": 31}


def tokenizer_definition() -> str:
    """A tokenizer.json of a dozen words; start and end of a text are 30 and 31."""
    marks = {mark: {"id": mark, "ids": [number], "tokens": [mark]} for mark, number in _MARKS.items()}
    start, end = ({"SpecialToken": {"id": mark, "type_id": 0}} for mark in _MARKS)
    single = [start, {"Sequence": {"id": "A", "type_id": 0}}, end]
    frame = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": marks}
    model = {"type": "WordLevel", "vocab": _WORDS | _MARKS, "unk_token": "?"}
    return json.dumps({"pre_tokenizer": {"type": "Whitespace"}, "post_processor": frame, "model": model})


def outputs_of(task: Task) -> int:
    return 1 if task == "regression" else len(LABELS)


def labels_of(task: Task) -> tuple[str, ...]:
    return SIDES if task == "regression" else LABELS


def table(modality: Modality, outputs: int) -> NDArray[np.float32]:
    """The matrix of a modality, [values, outputs]; of a text one row for each id, [vocabulary, outputs]."""
    rng = np.random.default_rng(len(modality.name))
    size = modality.vocabulary if isinstance(modality, Text) else int(np.prod(modality.shape))
    scale = 1.0 if isinstance(modality, Text) else size**-0.5
    return (scale * rng.standard_normal((size, outputs))).astype(np.float32)


def expected_outputs(
    windows: Mapping[str, NDArray[Any]], spec: WindowSpec = IMAGE_TEXT, task: Task = "multiclass"
) -> NDArray[np.float32]:
    """What the graph of these live windows [B, *shape] answers, [B, outputs]."""
    return np.sum([_part(spec[name], values, outputs_of(task)) for name, values in windows.items()], axis=0)


def _part(modality: Modality, values: NDArray[Any], outputs: int) -> NDArray[np.float32]:
    matrix = table(modality, outputs)
    if isinstance(modality, Text):
        return np.asarray(matrix[values].mean(axis=1))
    return np.asarray(values.reshape(len(values), -1) @ matrix)


def random_examples(spec: WindowSpec = IMAGE_TEXT, count: int = 1, seed: int = 0) -> Windows:
    """Modality to [count, *shape] of its dtype."""
    rng = np.random.default_rng(seed)
    return {m.name: noise(m, count, rng) for m in spec.modalities}


def make_example_bundle(
    path: Path,
    task: Task = "multiclass",
    spec: WindowSpec = IMAGE_TEXT,
    temperatures: Mapping[str, float] | None = None,
    trimmed: tuple[str, ...] = (),
    labels: tuple[str, ...] | None = None,
) -> Path:
    """Write a bundle to `path`: all patterns, one shared weights file, the tokenizer of its texts.

    labels: as many as those of `labels_of`, which are taken where these are None. trimmed: texts that the graphs take
    shorter too. The answer is then another: these graphs look at all ids.
    """
    names = [spec.pattern_name(pattern) for pattern in spec.patterns()]
    graphs = {
        name: example_graph([spec[part] for part in name.split("+")], outputs_of(task), trimmed) for name in names
    }
    (path / "graphs").mkdir(parents=True)
    (path / WEIGHTS).write_bytes(share_weights(list(graphs.values()), Path(WEIGHTS).name))
    for name, graph in graphs.items():
        (path / _file(name)).write_bytes(graph.SerializeToString())
    if any(isinstance(m, Text) for m in spec.modalities):
        (path / TOKENIZER).write_text(tokenizer_definition())
    manifest = manifest_of(path, spec, task, labels or labels_of(task), temperatures, trimmed)
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return path


def manifest_of(
    path: Path,
    spec: WindowSpec,
    task: Task,
    labels: tuple[str, ...],
    temperatures: Mapping[str, float] | None = None,
    trimmed: tuple[str, ...] = (),
) -> Manifest:
    """The manifest of graphs, weights and tokenizer that lie in `path`."""
    names = [spec.pattern_name(pattern) for pattern in spec.patterns()]
    parity = ParityRecord(windows=1, max_abs_error=1e-7, by_kind={"real": 1e-7}, tolerance=1e-4)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        modalities=spec.modalities,
        hop_s=spec.hop_s,
        labels=labels,
        graphs=tuple(
            GraphRecord(pattern=name, precision="fp32", file=record(path, _file(name)), parity=parity) for name in names
        ),
        weights={"fp32": record(path, WEIGHTS)},
        temperatures=dict(temperatures or dict.fromkeys(names, 1.0)),
        provenance=Provenance(created="2026-01-01T00:00:00+00:00", versions={}, dataset="toy", memory="none", seed=0),
        task=task,
        trimmed=trimmed,
        tokenizers={m.name: record(path, TOKENIZER) for m in spec.modalities if isinstance(m, Text)},
    )


def _file(pattern: str) -> str:
    return f"graphs/{pattern}.fp32.onnx"


def example_graph(live: Sequence[Modality], outputs: int, trimmed: Collection[str]) -> onnx.ModelProto:
    """Logits: the sum over live modalities of flattened window times matrix, or of a text the mean of its ids' rows."""
    nodes, held, parts = [], [numpy_helper.from_array(np.array([1], np.int64), "tokens_axis")], []
    for m in live:
        matrix, part = f"{m.name}_matrix", f"{m.name}_part"
        held.append(numpy_helper.from_array(table(m, outputs), matrix))
        if isinstance(m, Text):
            nodes.append(helper.make_node("Gather", [matrix, m.name], [f"{m.name}_rows"]))
            nodes.append(helper.make_node("ReduceMean", [f"{m.name}_rows", "tokens_axis"], [part], keepdims=0))
        else:
            nodes.append(helper.make_node("Flatten", [m.name], [f"{m.name}_flat"]))
            nodes.append(helper.make_node("MatMul", [f"{m.name}_flat", matrix], [part]))
        parts.append(part)
    nodes.append(helper.make_node("Sum", parts, ["logits"]))
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    shapes = {m.name: (f"{m.name}_tokens",) if m.name in trimmed else m.shape for m in live}
    inputs = [helper.make_tensor_value_info(m.name, kinds[m.dtype], ["batch", *shapes[m.name]]) for m in live]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])
    if not any(isinstance(m, Text) for m in live):
        del held[0]
    graph = helper.make_graph(nodes, "toy", inputs, [output], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
