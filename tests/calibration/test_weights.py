"""The shared weights file: every tensor once, found by its content, where ONNX Runtime can map it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rep_edge.calibration.weights import ALIGNMENT, SMALLEST, share_weights

LOCATION = "weights.bin"
Array = NDArray[np.generic]


def graph(**tensors: Array) -> onnx.ModelProto:
    """x [n] times the product of all tensors' sums."""
    nodes, last = [], "x"
    for name in tensors:
        nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("ReduceSum", [f"{name}_float"], [f"{name}_sum"], keepdims=0))
        nodes.append(helper.make_node("Mul", [last, f"{name}_sum"], [f"{name}_product"]))
        last = f"{name}_product"
    return helper.make_model(
        helper.make_graph(
            nodes,
            "toy",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n"])],
            [numpy_helper.from_array(value, name) for name, value in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )


def large(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((32, 40), dtype=np.float32)


def places(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Tensor in the file -> (offset, length)."""
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            assert entries["location"] == LOCATION
            found[tensor.name] = int(entries["offset"]), int(entries["length"])
    return found


def test_a_tensor_of_two_graphs_is_stored_once() -> None:
    models = [graph(shared=large(), own=large(1)), graph(other_name=large()), graph(third=large(2))]
    blob = share_weights(models, LOCATION)
    first, second, third = (places(model) for model in models)
    assert first["shared"] == second["other_name"]
    assert len({first["shared"], first["own"], third["third"]}) == 3
    assert len(blob) < 3 * (large().nbytes + ALIGNMENT)


def test_a_tensor_twice_in_one_graph_is_stored_once() -> None:
    model = graph(a=large(), b=large())
    assert len(share_weights([model], LOCATION)) == large().nbytes
    assert places(model)["a"] == places(model)["b"]


@pytest.mark.parametrize(
    "other", [large().reshape(40, 32), large().view(np.int32), np.nextafter(large(), np.float32(9))]
)
def test_what_differs_in_shape_kind_or_the_last_bit_is_another_tensor(other: Array) -> None:
    models = [graph(a=large()), graph(a=other)]
    blob = share_weights(models, LOCATION)
    for model, value in zip(models, (large(), other), strict=True):
        offset, length = places(model)["a"]
        assert blob[offset : offset + length] == value.tobytes()
    assert places(models[0]) != places(models[1])


def test_small_tensors_stay_in_the_graph() -> None:
    edge = SMALLEST // 4
    model = graph(small=np.ones(edge - 1, np.float32), just=np.ones(edge, np.float32), none=np.ones(0, np.float32))
    share_weights([model], LOCATION)
    assert set(places(model)) == {"just"}
    assert share_weights([graph(small=np.ones(3, np.float32))], LOCATION) == b""


def test_every_tensor_starts_on_a_page() -> None:
    odd = [np.full(300 + i, i, np.float32) for i in range(5)]
    models = [graph(a=value) for value in odd]
    share_weights(models, LOCATION)
    assert [places(model)["a"][0] % ALIGNMENT for model in models] == [0] * 5


def test_graphs_answer_as_before(tmp_path: Path) -> None:
    tensors = {"f": large(), "i": np.arange(2000), "h": large(3).astype(np.float16), "s": np.float32(0.5).reshape(())}
    models = [graph(**tensors), graph(**dict(list(tensors.items())[:2]))]
    x = np.arange(3, dtype=np.float32)
    expected = [answer(model.SerializeToString(), x) for model in models]
    (tmp_path / LOCATION).write_bytes(share_weights(models, LOCATION))
    for number, model in enumerate(models):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(model.SerializeToString())
        assert path.stat().st_size < 2000
        np.testing.assert_array_equal(answer(path, x), expected[number])
        for tensor in onnx.load(path).graph.initializer:
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), tensors[tensor.name])


def answer(model: bytes | Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    product: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return product
