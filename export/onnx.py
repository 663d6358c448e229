"""A specialised module as an ONNX graph: inputs named after the live modalities, batch dynamic."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from rep_edge.export.specialise import PatternGraph
from rep_edge.model import RepModel
from rep_edge.signals import Modality, Text

OPSET = 20
"""Has LayerNormalization and Gelu as operators; ONNX Runtime 1.17, TensorRT 10 and all later ones read it."""
OUTPUT = "logits"
BATCH = "batch"
SHORTEST = 2
"""Tokens of a text: its start and its end."""


def to_onnx(graph: PatternGraph) -> onnx.ModelProto:
    """The graph of one pattern; weights inside the model."""
    model = graph.model
    return traced(graph, [model.spec[name] for name in graph.names], trimmed(model))


def trimmed(model: RepModel) -> tuple[str, ...]:
    """Text modalities whose windows the graphs take cut behind the end as well."""
    texts = [m.name for m in model.spec.modalities if isinstance(m, Text)]
    return tuple(name for name in texts if model.memory.trims and model.encoder(name).causal)


def traced(module: nn.Module, live: Sequence[Modality], cut: Collection[str] = ()) -> onnx.ModelProto:
    """Trace a module with torch.export. It takes one tensor [batch, *shape] for each live modality, named after it.

    cut: names of those that may be shorter, from 2 tokens on.
    """
    # Two windows: a batch of one would be taken for a constant.
    examples: tuple[Tensor, ...] = tuple(torch.from_numpy(np.stack([m.blank()] * 2)) for m in live)
    batch = torch.export.Dim(BATCH)
    with _quiet():
        program = torch.onnx.export(
            module,
            examples,
            dynamo=True,
            dynamic_shapes=(tuple({0: batch, **_shorter(m, cut)} for m in live),),
            input_names=[m.name for m in live],
            output_names=[OUTPUT],
            opset_version=OPSET,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    # The program stands in circles with its weights, which are large.
    del program
    gc.collect()
    return model


def _shorter(modality: Modality, cut: Collection[str]) -> dict[int, Any]:
    if modality.name not in cut:
        return {}
    return {1: torch.export.Dim(f"{modality.name}_tokens", min=SHORTEST, max=modality.shape[0])}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's talk is for its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
