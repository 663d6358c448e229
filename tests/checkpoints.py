"""Small models for tests of checkpoints, and what is asked of two of them and of a complaint."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
import torch
from torch import Tensor

from rep_edge.config import AdapterConfig, ClipConfig, Config, SimulatedData, SwinConfig
from rep_edge.encoders.base import Beside, Embedded, Encoder, Keep
from rep_edge.errors import InputError
from rep_edge.model import RepModel, build_model
from rep_edge.signals import Image, Stream, Text, WindowSpec

CONFIG = Config(
    signals=WindowSpec(
        hop_s=1.0,
        modalities=(
            Stream(name="acoustic", rate_hz=100.0, samples=200),
            Stream(name="seismic", rate_hz=50.0, samples=100),
        ),
    ),
    data=SimulatedData(),
    encoder=SwinConfig(
        patch_bins={"acoustic": 4, "seismic": 2}, widths=(8, 16), depths=(1, 1), heads=2, feature_width=8
    ),
)
REP = AdapterConfig(slots=6, depth=2, bottleneck=4, shared_width=4)
MEMORIES = ("fed", "learned", "prompts", "none")


def model_of(memory: str | None, config: Config = CONFIG, labels: tuple[str, ...] = ("car", "walk")) -> RepModel:
    """The same towers each time, and a memory that is nowhere at its start."""
    torch.manual_seed(0)
    model = build_model(config, labels)
    if memory is not None:
        model.attach_adapter(msgspec.convert({**msgspec.structs.asdict(REP), "memory": memory}, AdapterConfig))
        for tensor in model.memory.parameters():
            torch.nn.init.normal_(tensor, std=0.3)
    return model.eval()


def same_answers(one: RepModel, other: RepModel) -> None:
    """Alike to the last bit, for every pattern; not for texts, whose windows are ids."""
    windows = {m.name: torch.randn(2, *m.shape) for m in one.spec.modalities}
    for pattern in one.spec.patterns():
        assert torch.equal(one(windows, pattern).logits, other(windows, pattern).logits)


def complaint(step: Callable[[], object]) -> str:
    """The one line with which a step is refused."""
    with pytest.raises(InputError) as error:
        step()
    assert "\n" not in str(error.value)
    return str(error.value)


class Mean(Encoder):
    """A tower of one block that does nothing, for any kind of window: the mean over its values, times four weights."""

    steps, feature_width = 1, 4

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.randn(1, 4))

    def width(self, k: int) -> int:
        return 4

    def embed(self, window: Tensor) -> Embedded:
        return Embedded((window.flatten(1).float().mean(1)[:, None] @ self.weights)[:, None])

    def advance(self, k: int, sequence: Tensor, lead: int) -> Tensor:
        return sequence

    def widen(self, k: int, rows: Tensor) -> Tensor:
        return rows

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        return {"all": sequence, "tokens": sequence[:, lead:], "slots": sequence[:, :lead]}[keep]

    def remember(self, k: int, rows: Tensor) -> Tensor:
        return rows

    def pool(self, tokens: Tensor, beside: Beside = ()) -> Tensor:
        return tokens.mean(dim=1)


def texts_and_picture(*texts: str) -> RepModel:
    """A model of a picture and texts, each with a tokenizer of its own."""
    modalities = (Image(name="picture", size=4), *(Text(name=name, tokens=6) for name in texts))
    config = msgspec.structs.replace(CONFIG, signals=WindowSpec(modalities=modalities), encoder=ClipConfig())
    definitions = {name: json.dumps({"model": f"of {name}, ü"}) for name in texts}
    return build_model(config, ("no", "yes"), definitions).eval()


def any_towers(config: Config) -> dict[str, Encoder]:
    """Stands for `build_encoders`: a tower for every kind of modality."""
    return {name: Mean() for name in config.signals.names}
