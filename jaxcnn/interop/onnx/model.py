"""What a file of ONNX holds: nodes, arrays, inputs and outputs, checked before anything is made of them.

Source: onnx.proto of onnx/onnx, and its IR.md.
"""

from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.checking import shown
from jaxcnn.interop.onnx.tensors import TENSOR, tensor
from jaxcnn.interop.onnx.wire import WHAT, Field, read_message
from jaxcnn.interop.source import Source, opened
from jaxcnn.layers.auxiliary import MAIN

__all__ = ["Node", "OnnxGraph", "read_graph"]

OPSETS = range(7, 29)  # whose operators mean here what they say
MOST_NODES = 20_000
DOMAINS = ("", "ai.onnx")
AGAIN = "Export it again."

DIMENSION = {1: Field("value", "int"), 2: Field("name", "seen")}
SHAPE = {1: Field("axes", DIMENSION, many=True)}
TYPE = {1: Field("tensor", {1: Field("kind", "int"), 2: Field("shape", SHAPE)})}
VALUE = {1: Field("name", "text"), 2: Field("type", TYPE)}
ATTRIBUTE = {
    1: Field("name", "text"),
    2: Field("float", "float"),
    3: Field("int", "int"),
    4: Field("text", "text"),
    5: Field("tensor", TENSOR),
    **dict.fromkeys((6, 11), Field("graph", "seen")),
    7: Field("floats", "float", many=True),
    8: Field("ints", "int", many=True),
    9: Field("texts", "text", many=True),
    20: Field("type", "int"),
    21: Field("reference", "seen"),
}
DEFAULTS = {1: ("float", 0.0), 2: ("int", 0), 3: ("text", ""), 4: ("tensor", None), 6: ("floats", []), 7: ("ints", [])}
NODE = {
    1: Field("inputs", "text", many=True),
    2: Field("outputs", "text", many=True),
    3: Field("name", "text"),
    4: Field("op", "text"),
    5: Field("attributes", ATTRIBUTE, many=True),
    7: Field("domain", "text"),
}
GRAPH = {
    1: Field("nodes", NODE, many=True),
    5: Field("arrays", TENSOR, many=True),
    11: Field("inputs", VALUE, many=True),
    12: Field("outputs", VALUE, many=True),
    15: Field("sparse", "seen"),
}
MODEL = {
    7: Field("graph", GRAPH),
    8: Field("opsets", {1: Field("domain", "text"), 2: Field("version", "int")}, many=True),
    25: Field("functions", "seen"),
}


class Node(NamedTuple):
    """An operator and what it takes and gives, by name; "" is an input that is left out."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


class OnnxGraph(NamedTuple):
    """A graph of one input, and its output: nodes in order, arrays by name, the input's axes (None if any length)."""

    nodes: list[Node]
    arrays: dict[str, Any]
    input: str
    axes: tuple[int | None, ...]
    output: str


def read_graph(path: Path | str) -> OnnxGraph:
    """Return the graph in a file; nothing beside that file is opened, and nothing is executed.

    Raises:
        OSError: the file cannot be read.
        ValueError: a damaged file, or one that holds more than a plain graph of one input and of one output, or one
            called "logits" among them.
    """
    with opened("load", path) as source:
        source.go(0, source.size)
        model = read_message(source, MODEL, source.size)
        return _checked(source, model)


def _checked(source: Source, model: dict[str, Any]) -> OnnxGraph:
    plain, fix = "a plain graph", "Export it as one, with its weights inside."
    source.expect("graph" in model, WHAT, "one without a graph", "Pass a file that was exported as ONNX.")
    source.expect("functions" not in model, plain, "one with functions of its own", fix)
    graph, versions = model["graph"], {o.get("domain", ""): o.get("version", 0) for o in model.get("opsets", [])}
    version = versions.get("", versions.get("ai.onnx", 0))
    known = f"opset {OPSETS[0]} to {OPSETS[-1]}"
    source.expect(version in OPSETS, known, f"opset {version}", "Export it again with one of these.")
    source.expect("sparse" not in graph, plain, "one with sparse arrays", fix)
    arrays: dict[str, Any] = {}
    for record in graph.get("arrays", []):
        name = record.get("name", "")
        source.expect(name not in arrays, plain, f"one with two arrays {shown(name)}", fix)
        arrays[name] = tensor(source, record, shown(name))
    inputs = [value for value in graph.get("inputs", []) if value.get("name", "") not in arrays]
    outputs = [value.get("name", "") for value in graph.get("outputs", [])]
    names = [value.get("name", "") for value in inputs]
    source.expect(len(names) == 1 and names[0] != "", "one input", shown(names), "Export a net of one.")
    output = MAIN if len(outputs) > 1 and MAIN in outputs else outputs[0] if len(outputs) == 1 else None
    one = f"one output, or one called {MAIN!r}"
    source.expect(output is not None, one, shown(outputs), "Export the net without its other heads.")
    assert output is not None
    there = {names[0], *arrays}
    records = graph.get("nodes", [])
    source.expect(len(records) <= MOST_NODES, f"at most {MOST_NODES} nodes", f"{len(records)}", "Load a smaller net.")
    nodes = []
    for record in records:
        node = _node(source, record)
        lost = [name for name in node.inputs if name and name not in there]
        got = f"{node.op} (node {shown(node.name)}) of {shown(lost)}, which nothing before it gives"
        source.expect(not lost, plain, got, fix)
        given = [name for name in node.outputs if name]
        twice = [name for name in given if name in there or given.count(name) > 1]
        source.expect(not twice, plain, f"two that give {shown(twice[:1])}", "Give each a name of its own.")
        there.update(given)
        nodes.append(node)
    source.expect(output in there, plain, f"one whose output {shown(output)} nothing gives", fix)
    return OnnxGraph(nodes, arrays, names[0], _axes(source, inputs[0]), output)


def _node(source: Source, record: dict[str, Any]) -> Node:
    op, name = record.get("op", ""), record.get("name", "")
    at = f"{op} (node {shown(name)})"
    ours = record.get("domain", "") in DOMAINS
    source.expect(ours, "operators of ONNX", f"{at} of {shown(record.get('domain'))}", "Export it with plain ones.")
    attributes: dict[str, Any] = {}
    for attribute in record.get("attributes", []):
        key, kind = attribute.get("name", ""), attribute.get("type", 0)
        got = f"{at} with a graph in {shown(key)}"
        source.expect(
            "graph" not in attribute, "operators without a graph inside", got, "Export it without control flow."
        )
        value = attribute.get(*DEFAULTS.get(kind, ("texts", None)))
        ok = "reference" not in attribute and value is not None and key not in attributes
        source.expect(ok, "attributes of numbers, texts or an array, each once", f"{at} with {shown(key)}", AGAIN)
        attributes[key] = tensor(source, value, f"{shown(key)} of {at}") if kind == 4 else value
    return Node(op, name, tuple(record.get("inputs", ())), tuple(record.get("outputs", ())), attributes)


def _axes(source: Source, value: dict[str, Any]) -> tuple[int | None, ...]:
    tensor_type = value.get("type", {}).get("tensor", {})
    source.expect(tensor_type.get("kind") == 1, "an input of float32", f"kind {tensor_type.get('kind')}", AGAIN)
    axes = tuple(axis.get("value") for axis in tensor_type.get("shape", {}).get("axes", []))
    ok = len(axes) in (2, 4) and all(n is None or 0 < n < 2**31 for n in axes[1:])
    source.expect(ok, "an input of images or vectors", f"axes {shown(axes)}", "Export it with a batch of images.")
    return axes
