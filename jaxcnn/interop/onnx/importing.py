"""A graph of ONNX as a net."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, shown
from jaxcnn.interop.onnx import readers as readers
from jaxcnn.interop.onnx.branches import Meeting, decomposed, named
from jaxcnn.interop.onnx.flow import ANY, COLUMN, FIRST, LAST, VECTOR, Call, Flow, Part, reader_of
from jaxcnn.interop.onnx.model import Node, OnnxGraph, read_graph
from jaxcnn.interop.onnx.neighbours import joined
from jaxcnn.layers.adaptive_pooling import AdaptiveAvgPool
from jaxcnn.layers.composition import Concat, Residual, Sequential, keep
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.layer import apply
from jaxcnn.models.deeplab import image_mean

__all__ = ["load"]

MOST_PIXELS = 2**22
JOINS = ("Add", "Concat", "Expand", "Mul")


def load(path: Path | str) -> tuple[Any, Any, Any]:
    """Return `(net, params, state)` of a graph of layers one after another and of branches that part and meet again.

    Convolutions, dense layers, norms, pools, activations, dropout, flattening (in PyTorch's order too: the next dense
    layer's rows are put in ours), bilinear enlarging by whole factors, sums of two branches (`Residual`), products of a
    value and a branch of it (`Gate`) and concatenations (`Concat`): every net of `models` comes back from its own
    export. The net takes images (N, H, W, C), and gives such, whatever the graph has. Of several outputs it gives that
    called "logits": the heads of an `Auxiliary` net are left out. Layers are called by their kind and a count, conv1,
    conv2. To train what `export` wrote, load its weights instead: batch norms that were folded are gone.

    A file may come from anywhere: it is read as numbers, by rules that allow no arrays outside of it and no more memory
    than twice its size and 64 MB; nothing in it is executed. No library is needed.

    Raises:
        OSError: the file cannot be read.
        TypeError: path is none.
        ValueError: a damaged or hostile file; an operator that is no layer here, by its name and its node's; several
            outputs, none of them "logits".
    """
    graph = read_graph(path)
    series, arrays = decomposed(graph)
    parts, flow = _series(series, _first(graph, series), arrays)
    plain = flow.axes in ANY and flow.order is None and flow.pads is None
    fix = "Let a dense layer follow."
    expect(plain, "load", "an output of images or vectors", f"one of {flow.axes} in another order", fix)
    found = _sequential(parts)
    net = found.layer
    leaves, structure = jax.tree.flatten((found.params, found.state))
    del graph, series, arrays, parts, found  # so that the file's numbers go while those of the net come
    kept = [_kept(leaves.pop()) for _ in range(len(leaves))]
    return net, *jax.tree.unflatten(structure, kept[::-1])


def _kept(array: Any) -> jax.Array:
    return jnp.asarray(np.asarray(array, np.float32))


def _first(graph: OnnxGraph, series: Sequence[Any]) -> Flow:
    """Return the input, whose channels come first unless the graph begins by putting them there."""
    axes = graph.axes[1:]
    fix = "Export it for images of one size; the batch alone may be of any."
    fixed = [n for n in axes if n is not None]
    expect(len(fixed) == len(axes), "load", "an input of known size", f"axes {shown(graph.axes)}", fix)
    start = series[0] if series else None
    turned = isinstance(start, Node) and start.op == "Transpose" and start.attributes.get("perm") == [0, 3, 1, 2]
    shape = tuple(fixed) if turned else (*fixed[1:], fixed[0])
    few = math.prod(shape[:-1]) <= MOST_PIXELS and math.prod(shape) <= MOST_PIXELS * 16
    expect(few, "load", "an input of a usual size", f"axes {shown(graph.axes)}", "Export it for smaller images.")
    return Flow(shape, VECTOR if len(axes) == 1 else LAST if turned else FIRST)


def _series(series: Sequence[Any], flow: Flow, arrays: dict[str, Any]) -> tuple[list[Part], Flow]:
    """Return the layers that do what the nodes do, and what comes of the value."""
    parts: list[Part] = []
    for item in series:
        made, flow = (_meeting if isinstance(item, Meeting) else _layers)(item, flow, arrays)
        parts += made
    return joined(parts), flow


def _layers(node: Node, flow: Flow, arrays: dict[str, Any]) -> tuple[list[Part], Flow]:
    """Return the layers that do what one node does, and what comes of the value."""
    reader = reader_of(node, flow)
    either = node.inputs[0] not in arrays or node.op in ("Add", "Mul", "MatMul")
    fix = "Export the net again."
    expect(either, "load", "arrays after what depends on the input", named(node), fix)
    shape = flow.shape
    try:
        made, after = reader(Call(node, arrays), flow)
        for part in made:
            like = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
            specs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, jnp.float32), (part.params, part.state))
            shape = jax.eval_shape(
                lambda p, s, x, at=part.layer: apply(at, p, s, x, train=False)[0], *specs, like
            ).shape[1:]
            pixels = math.prod(shape[:-1])
            expect(
                pixels <= MOST_PIXELS,
                "load",
                f"images of at most {MOST_PIXELS} pixels",
                f"{shape} after {named(node)}",
                fix,
            )
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        if reason.startswith("load: "):
            raise
        got = f"{named(node)} given one of shape {flow.shape} ({reason})"
        raise ValueError(f"load: expected a value that the node takes, got {got}. {fix}") from error
    return made, after.now(shape=shape)


def _meeting(item: Meeting, flow: Flow, arrays: dict[str, Any]) -> tuple[list[Part], Flow]:
    """Return the layer of branches."""
    node = item.node
    fix = f"The nearest are {', '.join(JOINS)}."
    expect(node.op in JOINS, "load", "operators that join branches here", named(node), fix)
    expect(flow.pads is None, "load", f"{node.op} without Pad before", named(node), "Put it into the branches.")
    if node.op == "Expand":
        return _spread(item, flow, arrays)
    made = [_series(branch, flow, arrays) for branch in item.branches]
    flows = [found for _, found in made]
    expect(
        len(node.inputs) == len(made), "load", "branches alone", named(node), "Fold constants, then export it again."
    )
    if node.op == "Mul":
        return _product(node, flow, made)
    same = len({(found.axes, found.order, found.shape[:-1], found.pads) for found in flows}) == 1
    expect(same, "load", "branches of one size and order", f"{[f.shape for f in flows]} for {named(node)}", fix)
    after = flows[0]
    if node.op == "Add":
        expect(
            len({f.shape for f in flows}) == 1,
            "load",
            "branches of one shape",
            f"{[f.shape for f in flows]} for {named(node)}",
            fix,
        )
        first, second = made if made[0][0] else made[::-1]
        pairs = {"branch": first[0]} | ({"shortcut": second[0]} if second[0] else {})
        return [_composite(Residual, pairs)], after
    axis = node.attributes.get("axis", 1)
    along = {FIRST: (1, -3), LAST: (3, -1), VECTOR: (1, -1)}.get(after.axes, ())
    expect(axis in along and after.order is None, "load", f"Concat of the channels, axis {along}", named(node), fix)
    channels = sum(found.channels for found in flows)
    branches = {f"branch{i}": parts for i, (parts, _) in enumerate(made, start=1)}
    return [_composite(Concat, branches)], after.now(shape=(*after.shape[:-1], channels))


def _spread(item: Meeting, flow: Flow, arrays: dict[str, Any]) -> tuple[list[Part], Flow]:
    """Return the image's mean at each of its pixels, the one value that is spread over the shape of another."""
    parts, _ = _series(item.branches[0], flow, arrays)
    mean = flow.axes == FIRST and [part.layer for part in parts] == [AdaptiveAvgPool(1)]
    shape = [isinstance(part, Node) and part.op == "Shape" and not part.attributes for part in item.branches[1]]
    fits = mean and shape == [True] and len(item.branches) == 2
    fix = "Other values have no layer here."
    expect(fits, "load", "Expand of an image's mean to the image's shape", named(item.node), fix)
    return [Part(image_mean)], flow


def _product(node: Node, flow: Flow, made: list[tuple[list[Part], Flow]]) -> tuple[list[Part], Flow]:
    """Return a gate, one factor being the value itself."""
    value, gate = made if not made[0][0] else made[::-1]
    itself = not value[0] and value[1] == flow
    expect(itself, "load", "Mul of a value and a branch of it", named(node), "Two branches have no layer here.")
    expect(gate[1].order is None and gate[1].pads is None, "load", "Mul of one order", named(node), "Export it again.")
    fits = gate[1].axes in (flow.axes, COLUMN) if flow.axes == FIRST else gate[1].axes == flow.axes
    expect(fits, "load", f"a factor of {flow.axes}", f"{gate[1].axes} for {named(node)}", "Put its axes in this order.")
    return [_composite(Gate, {"branch": gate[0]})], flow


def _composite(kind: Any, branches: dict[str, list[Part]]) -> Part:
    """Return the layer of branches, each the one layer that it has or a Sequential."""
    params: dict[str, Any] = {}
    state: dict[str, Any] = {}
    children = {}
    for name, parts in branches.items():
        one = parts[0] if len(parts) == 1 else _sequential(parts)
        children[name] = one.layer
        keep(params, name, one.params)
        keep(state, name, one.state)
    return Part(kind(**children), params, state)


def _sequential(parts: Sequence[Part]) -> Part:
    net = Sequential(*(part.layer for part in parts))
    params: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for name, part in zip(net.layers, parts, strict=True):
        keep(params, name, part.params)
        keep(state, name, part.state)
    return Part(net, params, state)
