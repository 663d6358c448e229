"""A specialised module as an ONNX graph: inputs named after the live modalities, batch dynamic."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from rep_edge.export.specialise import PatternGraph
from rep_edge.signals import Modality

OPSET = 20
"""Has LayerNormalization and Gelu as operators; ONNX Runtime 1.17, TensorRT 10 and all later ones read it."""
OUTPUT = "logits"
BATCH = "batch"


def to_onnx(graph: PatternGraph) -> onnx.ModelProto:
    """The graph of one pattern; weights inside the model."""
    return traced(graph, [graph.model.spec[name] for name in graph.names])


def traced(module: nn.Module, live: Sequence[Modality]) -> onnx.ModelProto:
    """Trace a module with torch.export. It takes one tensor [batch, *shape] for each live modality, named after it."""
    # Two windows: a batch of one would be taken for a constant.
    examples: tuple[Tensor, ...] = tuple(torch.from_numpy(np.stack([m.blank()] * 2)) for m in live)
    batch = torch.export.Dim(BATCH)
    with _quiet():
        program = torch.onnx.export(
            module,
            examples,
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in examples),),
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
