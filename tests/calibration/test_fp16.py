"""fp16 graphs: types, what is kept, and rounding as it is on a GPU, against numpy's float16."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny import Exports, noise_windows

from rep_edge.calibration.drift import beyond_fp16, layer_drift, own_drift
from rep_edge.calibration.fp16 import convertible, rounded_to_fp16, to_fp16
from rep_edge.calibration.graphs import before_logarithm, logits, read_graph
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.softmax import softmax


def power_graph(scale: float = 1.0) -> onnx.ModelProto:
    """logits = log(x * x * scale + 1) @ w: powers that fp16 cannot hold, though the result could."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((6, 3)).astype(np.float32),
        "scale": np.float32(scale),
        "one": np.float32(1),
    }
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["power"], name="power"),
        helper.make_node("Mul", ["power", "scale"], ["scaled"], name="scaled"),
        helper.make_node("Add", ["scaled", "one"], ["raised"], name="raised"),
        helper.make_node("Log", ["raised"], ["level"], name="level"),
        helper.make_node("MatMul", ["level", "w"], ["logits"], name="product"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return helper.make_model(
        helper.make_graph(nodes, "power", [x], [y], held), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )


def loud(level: float = 1000.0) -> dict[str, NDArray[np.float32]]:
    return {"x": (level * (1 + np.random.default_rng(1).random((5, 6)))).astype(np.float32)}


def kinds_of(model: onnx.ModelProto) -> dict[str, int]:
    return {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}


def test_inputs_and_outputs_stay_float32_and_weights_become_half_as_large() -> None:
    model = power_graph()
    half = to_fp16(model, {"power", "scaled", "raised", "level"})
    onnx.checker.check_model(half, full_check=True)
    assert kinds_of(half) == kinds_of(model)
    held = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert held == {"w_fp16": TensorProto.FLOAT16, "scale": TensorProto.FLOAT, "one": TensorProto.FLOAT}


def test_a_value_is_cast_once_between_types_and_never_between_kept_nodes() -> None:
    half = to_fp16(power_graph(), {"power", "scaled", "raised", "level"})
    assert [node.op_type for node in half.graph.node] == ["Mul", "Mul", "Add", "Log", "Cast", "MatMul", "Cast"]


def test_kept_powers_do_not_overflow() -> None:
    model, x = power_graph(), loud()
    np.testing.assert_allclose(logits(to_fp16(model, before_logarithm(model)), x), logits(model, x), rtol=2e-2)


def test_the_rounded_graph_overflows_as_numpy_does() -> None:
    model, x = power_graph(), loud()
    with np.errstate(over="ignore"):
        assert not np.isfinite(np.square(x["x"].astype(np.float16))).all()
    assert not np.isfinite(logits(rounded_to_fp16(model, set()), x)).all()


def test_the_rounded_graph_is_numpys_float16_step_by_step() -> None:
    model, x = power_graph(), loud(3.0)
    held = {t.name: numpy_helper.to_array(t).astype(np.float16) for t in model.graph.initializer}

    def half(values: NDArray[np.generic]) -> NDArray[np.float32]:
        return values.astype(np.float16).astype(np.float32)

    power = half(x["x"] * x["x"])
    raised = half(half(power * held["scale"].astype(np.float32)) + 1)
    wanted = half(half(np.log(raised)) @ held["w"].astype(np.float32))
    np.testing.assert_allclose(logits(rounded_to_fp16(model, set()), x), wanted, rtol=1e-3)


def test_what_overflows_is_found_with_its_magnitude() -> None:
    found = beyond_fp16(power_graph(), {"real": loud()})
    assert set(found) == {"power", "scaled", "raised", "level"}
    assert "e+06, and fp16 ends at 65504" in found["power"]
    assert beyond_fp16(power_graph(), {"real": loud(3.0)}) == {}


def test_a_constant_that_fp16_flushes_is_found() -> None:
    found = beyond_fp16(power_graph(scale=1e-7), {"real": loud(3.0)})
    assert found["scaled"].startswith("holds 1.0e-07")


def test_a_nodes_own_drift_is_its_rounding_alone() -> None:
    model, x = power_graph(), loud(3.0)
    drifts = own_drift(model, convertible(model), {"real": x})
    exact = np.square(x["x"], dtype=np.float32)
    rounded = np.square(x["x"].astype(np.float16).astype(np.float32)).astype(np.float16).astype(np.float32)
    assert drifts["power"] == pytest.approx(np.linalg.norm(rounded - exact) / np.linalg.norm(exact), rel=1e-3)


def test_a_graph_does_not_drift_from_itself_and_its_fp16_does() -> None:
    model, x = power_graph(), loud(3.0)
    assert [layer.error for layer in layer_drift(model, model, x)] == [0.0]
    (layer,) = layer_drift(model, rounded_to_fp16(model, set()), x)
    assert layer.name == "product"
    assert 0 < layer.error < 0.01


def test_real_graphs_convert_in_every_pattern(exports: Exports) -> None:
    bundle = open_bundle(exports["learned"].path)
    for record in bundle.manifest.graphs:
        model = read_graph(bundle, record.pattern, "fp32")
        windows = noise_windows(bundle.manifest.spec, 8)
        live = {name: windows[name] for name in record.pattern.split("+")}
        half = to_fp16(model, before_logarithm(model))
        onnx.checker.check_model(half, full_check=True)
        assert half.ByteSize() < 0.75 * model.ByteSize()
        off = np.abs(softmax(logits(half, live), 1.0) - softmax(logits(model, live), 1.0)).max()
        assert 0 < off < 0.02
