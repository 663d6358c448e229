"""int8 graphs: the equation of symmetric quantisation in numpy, and what stays untouched."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny import Exports, noise_windows

from rep_edge.calibration.graphs import before_logarithm, constants, logits, read_graph
from rep_edge.calibration.int8 import METHODS, activation_ranges, gemm_as_matmul, linear_layers, to_int8
from rep_edge.runtime.bundle import open_bundle

Floats = NDArray[np.float32]


def two_layers() -> onnx.ModelProto:
    """logits = (h @ second + bias) + h @ third, h = x @ first; `second` by Gemm with its weight transposed."""
    rng = np.random.default_rng(0)
    shapes = {"first": (8, 6), "second": (3, 6), "bias": (3,), "third": (6, 3)}
    held = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"], name="one"),
        helper.make_node("Gemm", ["h", "second", "bias"], ["g"], name="two", transB=1),
        helper.make_node("MatMul", ["h", "third"], ["t"], name="three"),
        helper.make_node("Add", ["g", "t"], ["logits"], name="sum"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "layers", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def windows() -> dict[str, Floats]:
    return {"x": np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)}


def rounded(x: Floats, largest: float) -> Floats:
    step = np.float32(largest / 127)
    return (np.clip(np.rint(x / step), -127, 127) * step).astype(np.float32)


def rounded_columns(w: Floats) -> Floats:
    return np.stack([rounded(w[:, j], float(np.abs(w[:, j]).max())) for j in range(w.shape[1])], axis=1)


def test_gemm_as_matmul_is_the_same_function() -> None:
    model = two_layers()
    plain = gemm_as_matmul(model)
    onnx.checker.check_model(plain, full_check=True)
    assert "Gemm" not in {node.op_type for node in plain.graph.node}
    assert "second" not in constants(plain)
    np.testing.assert_allclose(logits(plain, windows()), logits(model, windows()), rtol=1e-5, atol=1e-6)


def test_layers_are_products_with_a_constant_matrix() -> None:
    assert [node.name for node in linear_layers(gemm_as_matmul(two_layers()))] == ["one", "two", "three"]


def test_quantisation_is_its_equation() -> None:
    model = gemm_as_matmul(two_layers())
    x = windows()["x"]
    held = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    ranges = activation_ranges(model, windows(), "minmax")
    assert ranges["x"] == pytest.approx(np.abs(x).max())
    made = to_int8(model, ranges, ["one", "three"])
    onnx.checker.check_model(made, full_check=True)
    h = rounded(x, ranges["x"]) @ rounded_columns(held["first"])
    # The layer `two` reads the same tensor as `three` and is not rounded.
    wanted = h @ held["second_transposed"] + held["bias"]
    wanted += rounded(h, ranges["h"]) @ rounded_columns(held["third"])
    off = np.abs(logits(made, windows()) - wanted)
    # A value half way between two steps may fall to either side.
    assert np.quantile(off, 0.9) < 1e-4
    assert off.max() < 3 * ranges["h"] / 127 * np.abs(held["third"]).max()


def test_only_named_layers_carry_int8_weights() -> None:
    model = gemm_as_matmul(two_layers())
    ranges = activation_ranges(model, windows(), "minmax")
    kinds = {name: tensor.data_type for name, tensor in constants(to_int8(model, ranges, ["two"])).items()}
    assert kinds["second_transposed_int8"] == TensorProto.INT8
    assert kinds["first"] == kinds["third"] == TensorProto.FLOAT
    assert "second_transposed" not in kinds
    none = to_int8(model, ranges, [])
    np.testing.assert_array_equal(logits(none, windows()), logits(model, windows()))


def test_clipping_methods_end_below_the_extremes() -> None:
    model = gemm_as_matmul(two_layers())
    x = np.random.default_rng(1).standard_normal((4000, 8)).astype(np.float32)
    x[0, 0] = 100.0
    found = {method: activation_ranges(model, {"x": x}, method)["x"] for method in METHODS}
    assert found["minmax"] == pytest.approx(100.0)
    assert found["entropy"] < 50
    assert found["percentile"] < 50


def test_ranges_do_not_depend_on_how_windows_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    model = gemm_as_matmul(two_layers())
    one = activation_ranges(model, windows(), "minmax")
    monkeypatch.setattr("rep_edge.calibration.int8.COLLECT", 40)
    assert activation_ranges(model, windows(), "minmax") == pytest.approx(one)


def test_what_a_logarithm_depends_on_is_known(exports: Exports) -> None:
    bundle = open_bundle(exports["learned"].path)
    model = read_graph(bundle, "seismic", "fp32")
    front = before_logarithm(model)
    makers = {name: node for node in model.graph.node for name in node.output}
    logarithms = [node for node in model.graph.node if node.op_type == "Log"]
    assert logarithms
    assert {node.name for node in logarithms} < front
    for node in model.graph.node:
        if node.name in front:
            assert all(makers[name].name in front for name in node.input if name in makers)
    assert not any(node.op_type in ("Softmax", "LayerNormalization") for node in model.graph.node if node.name in front)


def test_real_graphs_quantise_in_every_pattern(exports: Exports) -> None:
    bundle = open_bundle(exports["fed"].path)
    for record in bundle.manifest.graphs:
        model = gemm_as_matmul(read_graph(bundle, record.pattern, "fp32"))
        some = noise_windows(bundle.manifest.spec, 16)
        live = {name: some[name] for name in record.pattern.split("+")}
        layers = [node.name for node in linear_layers(model) if node.name not in before_logarithm(model)]
        made = to_int8(model, activation_ranges(model, live, "minmax"), layers)
        onnx.checker.check_model(made, full_check=True)
        assert sum(node.op_type == "QuantizeLinear" for node in made.graph.node) > 5
        assert np.corrcoef(logits(made, live).ravel(), logits(model, live).ravel())[0, 1] > 0.95
