"""Untrained models of CLIP's and of MulT's towers, small enough for tests, and their bundles in seconds."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx
import torch
from bundles import LABELS, WEIGHTS
from example_bundles import FEATURES, IMAGE, SIDES, TOKENIZER, manifest_of, tokenizer_definition
from tiny import randomise

from rep_edge.calibration.weights import share_weights
from rep_edge.config import AdapterConfig, ClipConfig, Config, HatefulMemesData, MultConfig, SentimentData
from rep_edge.export.dependence import check_dependence
from rep_edge.export.folding import fold
from rep_edge.export.onnx import OPSET, OUTPUT, trimmed
from rep_edge.export.specialise import PatternGraph, specialise
from rep_edge.model import RepModel, build_model
from rep_edge.signals import Text, WindowSpec

TEXT = Text(name="text", tokens=9, vocabulary=32, placeholder=(30, 31), end=31)
PICTURES_AND_TEXTS = WindowSpec(modalities=(IMAGE, TEXT))
WORDS_AND_SOUNDS = WindowSpec(modalities=FEATURES.modalities[:2])
CLIP = {
    "embed_dim": 6,
    "vision_cfg": {"image_size": IMAGE.size, "patch_size": 4, "width": 8, "layers": 2, "head_width": 4},
    "text_cfg": {"context_length": TEXT.tokens, "vocab_size": TEXT.vocabulary, "width": 8, "heads": 2, "layers": 2},
}
"""An open_clip model configuration."""


def tiny_clip(task: Literal["multiclass", "multilabel"] = "multiclass") -> RepModel:
    """Two blocks a tower."""
    torch.manual_seed(7)
    encoder = ClipConfig(model=json.dumps(CLIP), random_init=True)
    data = HatefulMemesData(root="memes")
    config = Config(signals=PICTURES_AND_TEXTS, data=data, encoder=encoder, task=task, seed=5)
    return _adapted(build_model(config, LABELS, {"text": tokenizer_definition()}))


def tiny_mult(task: Literal["multiclass", "regression"] = "regression") -> RepModel:
    """One cross-modal block a stream and one of self-attention."""
    torch.manual_seed(8)
    encoder = MultConfig(width=4, heads=2, layers=1, memory_layers=1)
    data = SentimentData(file="features.pkl", name="CMU-MOSI")
    config = Config(signals=WORDS_AND_SOUNDS, data=data, encoder=encoder, task=task, seed=5)
    return _adapted(build_model(config, SIDES))


def _adapted(model: RepModel) -> RepModel:
    model.attach_adapter(AdapterConfig(memory="learned", slots=6, depth=2, bottleneck=4, shared_width=4))
    randomise(model)
    return model.eval()


def quick_bundle(model: RepModel, path: Path) -> Path:
    """The bundle of a model, made of the same modules as `export_bundle` makes, but by torch's older tracer, which
    takes a second a graph, and compared with nothing."""
    spec = model.spec
    quick_graphs({spec.pattern_name(pattern): specialise(model, pattern) for pattern in spec.patterns()}, path)
    for definition in model.tokenizers.values():
        (path / TOKENIZER).write_text(definition)
    manifest = manifest_of(path, spec, model.config.task, model.labels, trimmed=trimmed(model))
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return path


def quick_graphs(modules: Mapping[str, PatternGraph], folder: Path) -> dict[str, Path]:
    """graphs/<name>.fp32.onnx of every module, and the weights that they share."""
    graphs = {name: _quick_graph(module) for name, module in modules.items()}
    for name, graph in graphs.items():
        check_dependence(graph, name)
    (folder / "graphs").mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(share_weights(list(graphs.values()), Path(WEIGHTS).name))
    for name, graph in graphs.items():
        (folder / f"graphs/{name}.fp32.onnx").write_bytes(graph.SerializeToString())
    return {name: folder / f"graphs/{name}.fp32.onnx" for name in graphs}


def _quick_graph(module: PatternGraph) -> onnx.ModelProto:
    examples = tuple(torch.from_numpy(np.stack([module.model.spec[name].blank()] * 2)) for name in module.names)
    axes = {name: {0: "batch"} for name in (*module.names, OUTPUT)}
    for name in trimmed(module.model):
        if name in axes:
            axes[name][1] = f"{name}_tokens"
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            examples,
            buffer,
            dynamo=False,
            input_names=list(module.names),
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_axes=axes,
        )
    return fold(onnx.load_from_string(buffer.getvalue()))
