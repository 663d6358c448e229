"""The walk that finds what a graph computes without its inputs, and inputs that nothing reads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rep_edge.errors import InputError
from rep_edge.export.dependence import check_dependence, independent_nodes

Node = tuple[str, list[str], list[str]]
"""(operator, what it reads, what it gives)"""


def graph(*nodes: Node, inputs: tuple[str, ...] = ("x",), constants: tuple[str, ...] = ("w", "v")) -> onnx.ModelProto:
    return helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, read, given) for kind, read, given in nodes],
            "toy",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in inputs],
            [helper.make_tensor_value_info(nodes[-1][2][0], TensorProto.FLOAT, ["batch", 4])],
            [numpy_helper.from_array(np.ones(4, np.float32), name) for name in constants],
        )
    )


def idle(*nodes: Node) -> list[str]:
    return [node.output[0] for node in independent_nodes(graph(*nodes))]


def test_nothing_is_found_where_every_node_has_an_input_behind_it() -> None:
    nodes: list[Node] = [("Add", ["x", "w"], ["a"]), ("Mul", ["v", "a"], ["b"]), ("Add", ["a", "b"], ["y"])]
    assert idle(*nodes) == []
    check_dependence(graph(*nodes), "acoustic")


def test_a_whole_chain_of_constants_is_found() -> None:
    nodes: list[Node] = [("Add", ["w", "v"], ["a"]), ("Exp", ["a"], ["b"]), ("Mul", ["x", "b"], ["y"])]
    assert idle(*nodes) == ["a", "b"]


def test_a_node_without_any_input_is_found() -> None:
    assert idle(("RandomNormal", [], ["a"]), ("Add", ["x", "a"], ["y"])) == ["a"]


def test_every_output_of_a_dependent_node_depends() -> None:
    assert idle(("Split", ["x"], ["a", "b"]), ("Exp", ["b"], ["c"]), ("Add", ["a", "c"], ["y"])) == []


def test_an_output_left_out_is_no_input_left_out() -> None:
    """Both are the empty name in ONNX."""
    nodes: list[Node] = [
        ("LayerNormalization", ["x", "w"], ["a", "", "b"]),
        ("Clip", ["w", "", "v"], ["c"]),
        ("Add", ["a", "c"], ["y"]),
    ]
    assert idle(*nodes) == ["c"]


def test_idle_nodes_are_named_in_one_line() -> None:
    nodes: list[Node] = [("Exp", ["w"], [f"c{i}"]) for i in range(7)]
    joined: Node = ("Sum", ["x", *(f"c{i}" for i in range(7))], ["y"])
    with pytest.raises(InputError) as caught:
        check_dependence(graph(*nodes, joined), "acoustic+seismic")
    message = str(caught.value)
    assert message.startswith("graph acoustic+seismic: 7 nodes depend on no input")
    assert "Exp c0, Exp c1" in message
    assert "\n" not in message


def test_an_input_that_nothing_reads_is_named() -> None:
    model = graph(("Exp", ["x"], ["y"]), inputs=("x", "seismic", "magnetic"))
    with pytest.raises(InputError, match=r"^graph whole: input seismic, magnetic is read by no node"):
        check_dependence(model, "whole")
