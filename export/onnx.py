"""A specialised module as an ONNX graph: inputs named after the live modalities, batch dynamic."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from torch import Tensor

from rep_edge.export.specialise import PatternGraph

OPSET = 20
"""Has LayerNormalization and Gelu as operators; ONNX Runtime 1.17, TensorRT 10 and all later ones read it."""
OUTPUT = "logits"
BATCH = "batch"


def to_onnx(graph: PatternGraph) -> onnx.ModelProto:
    """Trace the module with torch.export; weights inside the model. Input i: [batch, *shape of the modality]."""
    spec = graph.model.spec
    # Two windows: a batch of one would be taken for a constant.
    examples: tuple[Tensor, ...] = tuple(torch.from_numpy(np.stack([spec[n].blank()] * 2)) for n in graph.names)
    batch = torch.export.Dim(BATCH)
    with _quiet():
        program = torch.onnx.export(
            graph,
            examples,
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in examples),),
            input_names=list(graph.names),
            output_names=[OUTPUT],
            opset_version=OPSET,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
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
