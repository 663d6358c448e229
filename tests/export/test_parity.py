"""Parity: every kind of window, as a batch and alone, and no difference above the limit goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from tiny import SENSORS, noise_windows, probabilities, tiny_model

from rep_edge.calibration.adversarial import adversarial_windows
from rep_edge.errors import InputError
from rep_edge.export import parity
from rep_edge.export.parity import TOLERANCE, check_parity
from rep_edge.model import RepModel
from rep_edge.signals import Pattern, WindowSpec

KINDS = {"zeros", "constant", "clipped", "huge", "tiny", "impulse", "noise"}
SEISMIC: Pattern = frozenset({"seismic"})
FILE = Path("seismic.onnx")

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> RepModel:
    return tiny_model("none", stages=1)


class Graph:
    """Stands for a session: the model's own logits, then changed."""

    def __init__(self, model: RepModel, change: Callable[[Array], Array]) -> None:
        self.model, self.change = model, change
        self.seen: list[Mapping[str, Array]] = []

    def run(self, outputs: None, windows: Mapping[str, Array]) -> list[Array]:
        self.seen.append(windows)
        with torch.inference_mode():
            live = {name: torch.from_numpy(values) for name, values in windows.items()}
            return [self.change(self.model(live, frozenset(windows)).logits.numpy().copy())]


def graph(patch: pytest.MonkeyPatch, model: RepModel, change: Callable[[Array], Array] = lambda z: z) -> Graph:
    """Opened instead of any file."""
    opened = Graph(model, change)
    patch.setattr(ort, "InferenceSession", lambda *_, **__: opened)
    return opened


def off_by(amount: float, at: int = 0) -> Callable[[Array], Array]:
    def change(logits: Array) -> Array:
        logits[at, 0] += amount
        return logits

    return change


@pytest.mark.parametrize("sensors", [2, 3])
def test_adversarial_windows_are_what_sensors_should_not_deliver(sensors: int) -> None:
    spec = WindowSpec(modalities=SENSORS[:sensors], hop_s=1.0)
    made = adversarial_windows(spec, seed=1)
    assert set(made) == KINDS
    for windows in made.values():
        assert list(windows) == list(spec.names)
        for m in spec.modalities:
            assert windows[m.name].shape == (4, *m.shape)
            assert windows[m.name].dtype == np.float32
            assert np.isfinite(windows[m.name]).all()
    seen = {kind: windows["seismic"] for kind, windows in made.items()}
    assert not seen["zeros"].any()
    assert np.ptp(seen["constant"]) == 0 < seen["constant"].min()
    assert np.mean(np.abs(seen["clipped"]) == 1) > 0.8
    assert np.abs(seen["huge"]).max() > 1e30
    assert 0 < np.abs(seen["tiny"]).max() < 1e-14
    assert np.count_nonzero(seen["impulse"]) == 4
    assert len(np.unique(seen["noise"], axis=0)) == 4


def test_the_seed_decides_the_windows() -> None:
    spec = WindowSpec(modalities=SENSORS, hop_s=1.0)
    one, again, other = (adversarial_windows(spec, seed)["noise"]["acoustic"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_limit_is_the_promised_one() -> None:
    assert TOLERANCE == 1e-4


def test_a_graph_that_says_the_same_passes(model: RepModel, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = graph(monkeypatch, model)
    kinds = {"real": noise_windows(model.spec, 6), **adversarial_windows(model.spec, 0)}
    record = check_parity(model, SEISMIC, FILE, kinds)
    assert (record.windows, record.tolerance) == (6 + 7 * 4, TOLERANCE)
    assert set(record.by_kind) == {"real", *KINDS}
    assert record.max_abs_error == max(record.by_kind.values()) < 1e-6
    assert all(set(windows) == {"seismic"} for windows in opened.seen)
    assert {len(windows["seismic"]) for windows in opened.seen} == {6, 4, 1}


def test_the_difference_is_one_of_probabilities(model: RepModel, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"real": noise_windows(model.spec, 3)}
    graph(monkeypatch, model, lambda logits: logits + 7)
    assert check_parity(model, SEISMIC, FILE, kinds).max_abs_error < 1e-6
    monkeypatch.setattr(parity, "TOLERANCE", 1.0)
    graph(monkeypatch, model, off_by(2.0, at=-1))
    record = check_parity(model, SEISMIC, FILE, kinds)
    said = probabilities(model, kinds["real"], SEISMIC).astype(float)
    raised = said * np.exp([[2.0, 0.0, 0.0]])
    moved = np.abs(raised / raised.sum(axis=1, keepdims=True) - said).max(axis=1)
    # Alone the first window is the last one too.
    assert record.max_abs_error == pytest.approx(max(moved[0], moved[-1]), rel=1e-4)


@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize("amount", [0.01, -3.0, np.nan, np.inf])
def test_a_graph_that_differs_in_one_window_fails(
    amount: float, at: int, model: RepModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph(monkeypatch, model, off_by(amount, at))
    with np.errstate(invalid="ignore"), pytest.raises(InputError) as caught:
        check_parity(model, SEISMIC, FILE, {"real": noise_windows(model.spec, 3)})
    message = str(caught.value)
    assert message.startswith("graph seismic: differs from the model by ")
    assert "on real windows (limit 1e-04); nothing was written" in message
    assert "\n" not in message


def test_a_graph_that_is_wrong_for_one_window_alone_fails(model: RepModel, monkeypatch: pytest.MonkeyPatch) -> None:
    graph(monkeypatch, model, lambda logits: off_by(0.5)(logits) if len(logits) == 1 else logits)
    with pytest.raises(InputError, match="differs from the model"):
        check_parity(model, SEISMIC, FILE, {"real": noise_windows(model.spec, 3)})


def test_the_kind_that_differs_is_named(model: RepModel, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = graph(monkeypatch, model)
    opened.change = lambda logits: off_by(0.5)(logits) if len(opened.seen) > 2 else logits
    kinds = {"real": noise_windows(model.spec, 3), "clipped": noise_windows(model.spec, 3)}
    with pytest.raises(InputError, match="on clipped windows"):
        check_parity(model, SEISMIC, FILE, kinds)
