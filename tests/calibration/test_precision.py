"""fp16 and int8 of real graphs: within budget and tolerance, sensitive layers kept, and told."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from labelled import sides_of
from tiny import Exports

from rep_edge.calibration.adversarial import adversarial_windows
from rep_edge.calibration.graphs import before_logarithm, logits, read_graph
from rep_edge.calibration.int8 import linear_layers
from rep_edge.calibration.precision import TOLERANCE, Material, calibrate_fp16, calibrate_int8
from rep_edge.calibration.windows import draw_windows, gather
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.softmax import softmax

PATTERNS = ("acoustic+seismic", "acoustic", "seismic")


@pytest.fixture(scope="module")
def bundle(exports: Exports) -> Bundle:
    return open_bundle(exports["learned"].path)


def material(bundle: Bundle, pattern: str) -> Material:
    sides, live = sides_of(bundle), pattern.split("+")
    kinds = adversarial_windows(bundle.manifest.spec, 0)
    return Material(
        draw_windows(sides.train, live, 48, 0),
        gather(sides.validation, live, range(len(sides.validation))),
        {kind: {name: values[name] for name in live} for kind, values in kinds.items()},
    )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_fp16_is_near_fp32_on_every_kind_of_window(bundle: Bundle, pattern: str) -> None:
    given, fp32, told = material(bundle, pattern), read_graph(bundle, pattern, "fp32"), list[str]()
    made = calibrate_fp16(fp32, given, 0.005, told.append)
    assert made.judgement.within(0.005, TOLERANCE["fp16"])
    assert set(made.judgement.errors) == {"real", *given.kinds}
    for values in (given.validation.values, *given.kinds.values()):
        off = np.abs(softmax(logits(made.model, values), 1.0) - softmax(logits(fp32, values), 1.0))
        assert off.max() <= TOLERANCE["fp16"]
    kept = {layer.name: layer.reason for layer in made.kept}
    assert any("fp16 ends at 65504" in reason for reason in kept.values()), "windows of 1e30 were not noticed"
    assert any("logarithm" in reason for reason in kept.values())
    assert told == [f"fp16: {made.converted} nodes converted, {len(kept)} stay in fp32"]
    assert made.converted > len(kept)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_int8_is_within_budget_and_says_what_it_kept(bundle: Bundle, pattern: str) -> None:
    given, fp32 = material(bundle, pattern), read_graph(bundle, pattern, "fp32")
    made = calibrate_int8(fp32, given, 0.02, ["minmax", "percentile"], lambda line: None)
    assert made.judgement.within(0.02, TOLERANCE["int8"])
    assert made.method in ("minmax", "percentile")
    kept = {layer.name for layer in made.kept}
    weights = [tensor for tensor in made.model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    assert sum(len(tensor.dims) == 2 for tensor in weights) <= made.converted
    # The first layers feed the logarithm.
    assert before_logarithm(fp32) & {node.name for node in linear_layers(fp32)} <= kept
    assert 0 < made.drift[-1].error < 0.5


def test_a_budget_that_nothing_meets_keeps_every_layer(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOLERANCE, "int8", -1.0)
    given, fp32 = material(bundle, "seismic"), read_graph(bundle, "seismic", "fp32")
    made = calibrate_int8(fp32, given, 0.0, ["minmax"], lambda line: None)
    assert made.converted == 0
    assert not any(node.op_type == "QuantizeLinear" for node in made.model.graph.node)
    assert made.judgement.loss == 0.0
    assert all(layer.reason.startswith(("costs ", "a logarithm")) for layer in made.kept)


def test_the_most_sensitive_layer_is_kept_first(bundle: Bundle) -> None:
    fp32 = read_graph(bundle, "seismic", "fp32")
    loose = calibrate_int8(fp32, material(bundle, "seismic"), 1.0, ["minmax"], lambda line: None)
    tight = calibrate_int8(fp32, material(bundle, "seismic"), 0.0, ["minmax"], lambda line: None)
    assert {layer.name for layer in loose.kept} <= {layer.name for layer in tight.kept}
    assert tight.judgement.loss <= loose.judgement.loss + 1e-9 or tight.judgement.loss <= 0
