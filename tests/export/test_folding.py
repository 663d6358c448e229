"""Folding: the same function, and no node left that depends on no input."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rep_edge.export import folding
from rep_edge.export.folding import fold

WIDTH = 6
Array = NDArray[np.float32]


@pytest.fixture(autouse=True, params=["onnxslim", "all left to us", "weights kept apart"])
def slim(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnxslim leaves changes from version to version, and from graph to graph; large weights it never sees."""
    if request.param == "all left to us":
        monkeypatch.setattr(onnxslim, "slim", lambda model: model)
    if request.param == "weights kept apart":
        monkeypatch.setattr(folding, "LARGE", WIDTH)


def graph(nodes: list[onnx.NodeProto], constants: dict[str, NDArray[np.generic]], output: str = "y") -> onnx.ModelProto:
    """float32 x [batch, 6] to an output of that shape."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "toy",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", WIDTH])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def weights(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def run(model: onnx.ModelProto, batch: int) -> Array:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: Array = session.run(None, {"x": weights(batch, WIDTH, seed=9)})[0]
    return answer


def depends_on_x(model: onnx.ModelProto, name: str) -> bool:
    """Followed backwards, from what is read to who made it."""
    maker = {output: node for node in model.graph.node for output in node.output if output}
    return name == "x" or (name in maker and any(depends_on_x(model, read) for read in maker[name].input if read))


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The folded model, found to be the same function for several batches, without idle nodes and weights."""
    expected = {batch: run(model, batch) for batch in (1, 2, 5)}
    made = fold(model)
    onnx.checker.check_model(made, full_check=True)
    for batch, answer in expected.items():
        np.testing.assert_allclose(run(made, batch), answer, rtol=1e-5, atol=1e-6)
    assert all(depends_on_x(made, node.output[0]) for node in made.graph.node)
    read = {name for node in made.graph.node for name in node.input}
    assert all(tensor.name in read for tensor in made.graph.initializer)
    return made


@pytest.mark.parametrize(
    ("kind", "read", "options"),
    [
        ("MatMul", ["a", "b"], {}),
        ("Gelu", ["a"], {}),
        ("LayerNormalization", ["a", "scale"], {"axis": -1}),
        ("Softmax", ["a"], {"axis": -1}),
        ("Gemm", ["a", "b"], {"transB": 1}),
        ("Einsum", ["a", "b"], {"equation": "ij,jk->ik"}),
        ("CumSum", ["a", "axis"], {}),
    ],
)
def test_what_is_constant_becomes_a_constant(kind: str, read: list[str], options: dict[str, Any]) -> None:
    nodes = [
        helper.make_node(kind, read, ["c"], **options),
        helper.make_node("MatMul", ["x", "c"], ["y"]),
    ]
    constants = {"a": weights(WIDTH, WIDTH), "b": weights(WIDTH, WIDTH, seed=1), "scale": weights(WIDTH)}
    made = folded(graph(nodes, {**constants, "axis": np.array(0)}))
    assert [node.op_type for node in made.graph.node] == ["MatMul"]
    assert len(made.graph.initializer) == 1


def test_one_output_of_a_constant_node_is_kept() -> None:
    nodes = [
        helper.make_node("Split", ["a"], ["first", "second"], axis=0, num_outputs=2),
        helper.make_node("Tanh", ["second"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    made = folded(graph(nodes, {"a": weights(2, WIDTH)}))
    assert [tuple(tensor.dims) for tensor in made.graph.initializer] == [(1, WIDTH)]
    np.testing.assert_allclose(numpy_helper.to_array(made.graph.initializer[0]), np.tanh(weights(2, WIDTH)[1:]), 1e-6)


def test_whole_numbers_are_folded_too() -> None:
    nodes = [
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Range", ["zero", "count", "one"], ["order"]),
        helper.make_node("Sub", ["count", "one"], ["last"]),
        helper.make_node("Sub", ["last", "order"], ["backwards"]),
        helper.make_node("Gather", ["x", "backwards"], ["turned"], axis=1),
        helper.make_node("ReduceProd", ["shape"], ["size"], keepdims=0),
        helper.make_node("Cast", ["size"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["turned", "factor"], ["y"]),
    ]
    constants = {"a": weights(2, 3), "zero": np.array(0), "one": np.array(1), "count": np.array(WIDTH)}
    made = folded(graph(nodes, constants))
    assert [node.op_type for node in made.graph.node] == ["Gather", "Mul"]
    np.testing.assert_allclose(run(made, 2), 6 * weights(2, WIDTH, seed=9)[:, ::-1], rtol=1e-6)


def test_a_graph_without_constants_stays_what_it_is() -> None:
    made = folded(graph([helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Mul", ["x", "e"], ["y"])], {}))
    assert sorted(node.op_type for node in made.graph.node) == ["Exp", "Mul"]


def random_nodes(rng: np.random.Generator, count: int) -> list[onnx.NodeProto]:
    """Nodes that read x, weights and each other as it comes, and a last one that adds all up to y."""
    names, nodes = ["x", "w0", "w1", "w2"], []
    for i in range(count):
        kind = str(rng.choice(["Add", "Mul", "Tanh", "Sigmoid"]))
        read = [str(name) for name in rng.choice(names, 2 if kind in ("Add", "Mul") else 1)]
        nodes.append(helper.make_node(kind, read, [f"n{i}"]))
        names.append(f"n{i}")
    loose = [name for name in names[4:] if not any(name in node.input for node in nodes)]
    return [*nodes, helper.make_node("Sum", ["x", *loose], ["y"])]


@pytest.mark.parametrize("seed", range(12))
def test_any_graph_keeps_its_answers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes = random_nodes(rng, count=12)
    folded(graph(nodes, {f"w{i}": weights(1, WIDTH, seed=i) for i in range(3)}))
