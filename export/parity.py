"""The proof that a graph says what the trained model says, on real windows and on adversarial ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from rep_edge.errors import InputError
from rep_edge.export.onnx import trimmed
from rep_edge.model import RepModel
from rep_edge.runtime.activation import activate
from rep_edge.runtime.manifest import ParityRecord
from rep_edge.runtime.trimming import trim
from rep_edge.signals import Example, Pattern

TOLERANCE = 1e-4
"""Largest difference of a probability, or of a value, in float32."""

Windows = Mapping[str, Example]


def check_parity(model: RepModel, pattern: Pattern, path: Path, kinds: Mapping[str, Windows]) -> ParityRecord:
    """Compare the graph at `path` with the model it came from. kinds: kind -> modality -> [n, *shape].

    Every kind is run as a batch and its first window once more alone, a text of it cut behind its end. Raises
    InputError above the tolerance.
    """
    session = ort.InferenceSession(path, _options(), providers=["CPUExecutionProvider"])
    name = model.spec.pattern_name(pattern)
    errors: dict[str, float] = {}
    windows = 0
    for kind, values in kinds.items():
        live = {m: np.ascontiguousarray(values[m]) for m in model.spec.names if m in pattern}
        with torch.inference_mode():
            output = model({m: torch.from_numpy(v) for m, v in live.items()}, pattern).logits
            wanted = model.task.answers(output).numpy()
        found = activate(model.task.name, session.run(None, live)[0])
        first = trim({m: v[:1] for m, v in live.items()}, model.spec, trimmed(model))
        alone = activate(model.task.name, session.run(None, first)[0])
        errors[kind] = float(max(np.abs(found - wanted).max(), np.abs(alone - wanted[:1]).max()))
        windows += len(wanted)
        if not errors[kind] <= TOLERANCE:
            raise InputError(
                f"graph {name}: differs from the model by {errors[kind]:.1e} in a probability on {kind} windows "
                f"(limit {TOLERANCE:.0e}); nothing was written"
            )
    return ParityRecord(windows=windows, max_abs_error=max(errors.values()), by_kind=errors, tolerance=TOLERANCE)


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options
