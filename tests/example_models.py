"""Small models of CLIP and MulT with weights at which every part matters, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tiny import randomise

from rep_edge.calibration.noise import noise
from rep_edge.config import AdapterConfig, Config, EncoderConfig, SimulatedData
from rep_edge.export.exporting import Source, export_bundle
from rep_edge.model import RepModel, build_model
from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import Example, FeatureSequence, Image, Text, WindowSpec

LABELS = ("cat", "dog", "none")
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
PICTURES_AND_TEXTS = WindowSpec(modalities=(Image(name="image", size=32), Text(name="text", tokens=12)))
SEQUENCES = WindowSpec(
    modalities=tuple(
        FeatureSequence(name=n, length=t, width=d) for n, t, d in (("text", 5, 7), ("audio", 9, 4), ("vision", 3, 6))
    )
)


def model_of(encoder: EncoderConfig, spec: WindowSpec, memory: Any, task: Any = "multiclass") -> RepModel:
    torch.manual_seed(1)
    config = Config(signals=spec, data=SimulatedData(), encoder=encoder, task=task)
    model = build_model(config, LABELS if task != "regression" else ("negative", "positive"))
    model.attach_adapter(
        AdapterConfig(memory=memory, slots=6, depth=2, bottleneck=4, shared_width=4, reader="mean", read_slots=True)
    )
    randomise(model)
    return model.eval()


def windows_of(spec: WindowSpec, count: int = 4) -> dict[str, Example]:
    rng = np.random.default_rng(2)
    return {m.name: noise(m, count, rng) for m in spec.modalities}


def exported(model: RepModel, out: Path) -> Manifest:
    return export_bundle(model, out, Source(windows_of(model.spec), "noise"), lambda line: None)


def answers(model: RepModel, windows: dict[str, Example], pattern: frozenset[str]) -> NDArray[np.float32]:
    with torch.inference_mode():
        live = {name: torch.from_numpy(windows[name]) for name in pattern}
        said: NDArray[np.float32] = model.task.answers(model(live, pattern).logits).numpy()
    return said
