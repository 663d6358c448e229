"""Untrained models small enough to be exported in seconds, with weights at which every part of them matters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rep_edge.config import AdapterConfig, Config, SimulatedData, SwinConfig
from rep_edge.export.exporting import Source, export_bundle
from rep_edge.model import RepModel, build_model
from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import Stream, WindowSpec

SENSORS = (
    Stream(name="acoustic", rate_hz=200, samples=400),
    Stream(name="seismic", rate_hz=100, samples=200, placeholder=0.5),
    Stream(name="magnetic", rate_hz=50, samples=100, channels=3),
)
BINS = {"acoustic": 2, "seismic": 1, "magnetic": 1}
LABELS = ("car", "truck", "walk")
DATASET = "noise of the tests"

Windows = dict[str, NDArray[np.float32]]


def randomise(model: RepModel) -> None:
    """Weights of a size at which every part of the model matters, fresh adapters start at zero or near it."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "memory" not in name:
            nn.init.normal_(parameter, std=0.6 * parameter.shape[-1] ** -0.5)
        elif parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.5)
        else:
            nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.3)
    for name, buffer in model.memory.named_buffers():
        if name.endswith(("centre", "scale")):
            nn.init.uniform_(buffer, 0.5, 1.5)


def tiny_model(
    memory: Literal["fed", "learned", "none"], sensors: int = 2, stages: int = 2, labels: tuple[str, ...] = LABELS
) -> RepModel:
    """One block in each stage."""
    torch.manual_seed(11)
    encoder = SwinConfig(patch_bins=BINS, widths=(8, 16)[:stages], depths=(1, 1)[:stages], heads=2, feature_width=8)
    config = Config(
        signals=WindowSpec(modalities=SENSORS[:sensors], hop_s=1.0),
        data=SimulatedData(runs_per_class=4, windows_per_run=2),
        encoder=encoder,
        seed=5,
    )
    model = build_model(config, labels)
    cache = () if memory == "none" else tuple(range(stages))
    adapter = AdapterConfig(memory=memory, slots=6, depth=stages, bottleneck=4, shared_width=4, cache=cache)
    model.attach_adapter(adapter)
    randomise(model)
    return model.eval()


def noise_windows(spec: WindowSpec, count: int, seed: int = 3) -> Windows:
    """Modality -> float32 [count, channels, samples]."""
    rng = np.random.default_rng(seed)
    return {m.name: 3 * rng.standard_normal((count, *m.shape), dtype=np.float32) for m in spec.modalities}


def probabilities(model: RepModel, windows: Windows, pattern: frozenset[str]) -> NDArray[np.float32]:
    """What the model says in PyTorch, [n, classes]."""
    with torch.inference_mode():
        logits = model({name: torch.from_numpy(values) for name, values in windows.items()}, pattern).logits
        said: NDArray[np.float32] = logits.softmax(-1).numpy()
    return said


KINDS: dict[str, Callable[[], RepModel]] = {
    "fed": lambda: tiny_model("fed"),
    "learned": lambda: tiny_model("learned"),
    "none": lambda: tiny_model("none", stages=1),
    "none, three sensors": lambda: tiny_model("none", sensors=3, stages=1),
}
"""What `Exports` holds."""


class Exported(NamedTuple):
    """A model, its bundle, what the export returned and what it said."""

    model: RepModel
    path: Path
    manifest: Manifest
    told: list[str]


class Exports:
    """Bundles of tiny models in a folder, each exported when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, Exported] = {}

    def __getitem__(self, kind: str) -> Exported:
        if kind not in self.made:
            model, path = KINDS[kind](), self.folder / kind
            told: list[str] = []
            source = Source(noise_windows(model.spec, 6), DATASET)
            self.made[kind] = Exported(model, path, export_bundle(model, path, source, told.append), told)
        return self.made[kind]
