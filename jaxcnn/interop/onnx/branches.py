"""A graph of nodes as what nets are made of: nodes one after another, and branches that part and meet again."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.checking import expect, shown
from jaxcnn.interop.onnx.model import Node, OnnxGraph

__all__ = ["Meeting", "decomposed", "named"]

DEEPEST = 40  # branches within branches
CONSTANTS = {"value": None, "value_float": np.float32, "value_floats": np.float32}
CONSTANTS |= {"value_int": np.int64, "value_ints": np.int64}


class Meeting(NamedTuple):
    """A node at which branches meet that have parted where the node before it, or the input, stands."""

    node: Node
    branches: list[list[Any]]


def named(node: Node) -> str:
    """Return what a message calls a node."""
    return f"{node.op} (node {shown(node.name or node.outputs[0])})"


def decomposed(graph: OnnxGraph) -> tuple[list[Any], dict[str, Any]]:
    """Return the nodes from input to output, in order, each a `Node` or a `Meeting`, and all arrays by name.

    Raises:
        ValueError: branches that use what is inside of another.
    """
    arrays = dict(graph.arrays)
    givers, same = _plain(graph, arrays)
    output = same.get(graph.output, graph.output)
    fix = "Load a graph that computes something of its input."
    expect(output == graph.input or output in givers, "load", "an output that depends on the input", output, fix)
    givers = _towards(output, givers)
    return _Walk(givers, arrays, _dominators(graph.input, givers, arrays)).back(output, graph.input, DEEPEST), arrays


def _plain(graph: OnnxGraph, arrays: dict[str, Any]) -> tuple[dict[str, Node], dict[str, str]]:
    """Return the node that gives each value, in order, less constants, which become arrays, and mere other names."""
    givers: dict[str, Node] = {}
    same: dict[str, str] = {}
    for given in graph.nodes:
        node = given._replace(inputs=tuple(same.get(name, name) for name in given.inputs))
        fix = "Export the net again, for inference."
        expect(len(node.outputs) > 0, "load", "nodes that give something", f"{node.op} (node {node.name!r})", fix)
        first = node.outputs[0]
        if node.op == "Constant":
            keys = [key for key in node.attributes if key in CONSTANTS]
            expect(len(keys) == 1, "load", "constants that are numbers", named(node), fix)
            value = node.attributes[keys[0]]
            arrays[first] = value if keys[0] == "value" else np.asarray(value, CONSTANTS[keys[0]])
        elif node.op == "Identity" and node.inputs and node.inputs[0] in arrays:
            arrays[first] = arrays[node.inputs[0]]
        elif node.op == "Identity" and node.inputs:
            same[first] = node.inputs[0]
        elif node.op == "Split":
            for index, name in enumerate(node.outputs):
                givers[name] = node._replace(outputs=(name,), attributes={**node.attributes, "index": index})
                givers[name].attributes["parts"] = len(node.outputs)
        else:
            givers[first] = node
    return givers, same


def _towards(output: str, givers: Mapping[str, Node]) -> dict[str, Node]:
    """Return the nodes on which the output depends, in order."""
    wanted = {output}
    for name in reversed(list(givers)):
        if name in wanted:
            wanted.update(givers[name].inputs)
    return {name: node for name, node in givers.items() if name in wanted}


def _takes(node: Node, arrays: Mapping[str, Any]) -> list[str]:
    """Return the inputs that depend on the graph's."""
    return [name for name in node.inputs if name and name not in arrays]


def _dominators(start: str, givers: Mapping[str, Node], arrays: Mapping[str, Any]) -> dict[str, str]:
    """Return for each value the nearest one through which all ways from the input to it lead."""
    above, depth = {}, {start: 0}
    for name, node in givers.items():
        found = None
        for other in _takes(node, arrays):
            if other not in depth:  # of a second output, or of nothing that comes from the input
                fix = "Export the net again, for inference."
                expect(
                    False,
                    "load",
                    "nodes of first outputs that depend on the input",
                    f"{named(node)} of {shown(other)}",
                    fix,
                )
            found = other if found is None else _meet(found, other, above, depth)
        if found is None:
            expect(
                False, "load", "nodes that depend on the input", named(node), "Fold constants, then export it again."
            )
        assert found is not None
        above[name], depth[name] = found, depth[found] + 1
    return above


def _meet(a: str, b: str, above: Mapping[str, str], depth: Mapping[str, int]) -> str:
    while a != b:
        a, b = (above[a], b) if depth[a] >= depth[b] else (a, above[b])
    return a


class _Walk:
    def __init__(self, givers: Mapping[str, Node], arrays: Mapping[str, Any], above: Mapping[str, str]) -> None:
        self.givers, self.arrays, self.above = givers, arrays, above
        self.seen: set[str] = set()

    def back(self, end: str, start: str, room: int) -> list[Any]:
        """Return what leads from a value to another, having made sure that nothing else leads there."""
        found: list[Any] = []
        while end != start:
            node = self.givers[end]
            fix = "Only nets of layers one after another, and of branches that part and meet again, can be loaded."
            expect(
                end not in self.seen, "load", "branches that share nothing inside", f"two through {named(node)}", fix
            )
            self.seen.add(end)
            taken = _takes(node, self.arrays)
            if len(taken) > 1:
                expect(room > 0, "load", f"branches at most {DEEPEST} deep", f"deeper ones at {named(node)}", fix)
                found.append(Meeting(node, [self.back(name, self.above[end], room - 1) for name in taken]))
            else:
                found.append(node)
            end = self.above[end]
        return found[::-1]
