"""What a bundle is compared with: the same weights without REP as graphs, and the model in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from tiny import Exports, noise_windows, probabilities, tiny_model

from rep_edge.export.rivals import compiled, eager
from rep_edge.model import RepModel


@pytest.fixture(scope="module")
def model() -> RepModel:
    return tiny_model("fed")


def logits_of(path: Path, windows: dict[str, NDArray[np.float32]]) -> torch.Tensor:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], windows)[0])


def test_the_backbone_and_every_tower_are_written(plain_graphs: dict[str, Path]) -> None:
    inputs = {name: [i.name for i in onnx.load(file).graph.input] for name, file in plain_graphs.items()}
    assert inputs == {"backbone": ["acoustic", "seismic"], "acoustic": ["acoustic"], "seismic": ["seismic"]}
    folders = {file.parent for file in plain_graphs.values()}
    assert [file.name for folder in folders for file in folder.glob("*.bin")] == ["weights.fp32.bin"]


def test_plain_graphs_say_what_the_weights_say_without_rep(plain_graphs: dict[str, Path], exports: Exports) -> None:
    adapted, plain = exports["learned"].model, tiny_model("none")
    plain.load_state_dict({n: t for n, t in adapted.state_dict().items() if not n.startswith("memory")})
    windows = noise_windows(plain.spec, 3)
    for name, file in plain_graphs.items():
        pattern = plain.spec.complete if name == "backbone" else frozenset({name})
        live = {m: windows[m] for m in plain.spec.names if m in pattern}
        said = logits_of(file, live).softmax(-1).numpy()
        np.testing.assert_allclose(said, probabilities(plain, live, pattern), atol=1e-5)
        assert np.abs(said - probabilities(adapted, live, pattern)).max() > 1e-2


def test_eager_runs_the_model_on_the_live_windows(model: RepModel) -> None:
    windows = noise_windows(model.spec, 1)
    for pattern in model.spec.patterns():
        said = eager(model, pattern, windows)()
        assert isinstance(said, torch.Tensor)
        assert not said.requires_grad
        np.testing.assert_allclose(said.softmax(-1), probabilities(model, windows, pattern), atol=1e-6)


def test_compiling_happens_before_the_first_timed_call(model: RepModel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def compile_(module: Callable[..., torch.Tensor], dynamic: bool) -> Callable[..., torch.Tensor]:
        assert not dynamic

        def run(windows: dict[str, torch.Tensor]) -> torch.Tensor:
            calls.append(1)
            return module(windows)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    windows, complete = noise_windows(model.spec, 1), model.spec.complete
    call = compiled(model, complete, windows)
    assert len(calls) == 1
    said = call()
    assert isinstance(said, torch.Tensor)
    np.testing.assert_allclose(said.softmax(-1), probabilities(model, windows, complete), atol=1e-6)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "at the first call"])
@pytest.mark.parametrize(
    ("message", "reason"), [("\n  no compiler found \n\nmany lines\nmore", "no compiler found"), ("", "OSError")]
)
def test_where_compiling_fails_the_reason_is_one_line(
    message: str, reason: str, at_once: bool, model: RepModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise OSError(message)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail() if at_once else fail)
    with pytest.raises(RuntimeError) as caught:
        compiled(model, model.spec.complete, noise_windows(model.spec, 1))
    assert str(caught.value) == reason
