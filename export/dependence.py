"""The check that a graph computes only what depends on its inputs, and that it reads all of them."""

from __future__ import annotations

import onnx

from rep_edge.errors import InputError


def independent_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes whose outputs are the same whatever the inputs are, in graph order."""
    reached = {value.name for value in model.graph.input}
    found = []
    for node in model.graph.node:
        if reached.intersection(node.input):
            # An output that is left out has the empty name, and so has an input that is left out.
            reached.update(name for name in node.output if name)
        else:
            found.append(node)
    return found


def check_dependence(model: onnx.ModelProto, name: str) -> None:
    """Raises InputError that names the first nodes of graph `name` without an input behind them, or unread inputs."""
    idle = independent_nodes(model)
    if idle:
        listed = ", ".join(f"{node.op_type} {node.output[0]}" for node in idle[:5])
        raise InputError(f"graph {name}: {len(idle)} nodes depend on no input and should be constants: {listed}")
    read = {used for node in model.graph.node for used in node.input}
    unread = [value.name for value in model.graph.input if value.name not in read]
    if unread:
        raise InputError(f"graph {name}: input {', '.join(unread)} is read by no node; its sensor would not count")
