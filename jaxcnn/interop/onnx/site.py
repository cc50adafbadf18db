"""The place of a layer in a graph that is being written, and the table of what writes each kind of layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import LONGEST, expect, shown
from jaxcnn.layers.layer import Layer, Module, apply, show
from jaxcnn.surgery.tree import children_of

__all__ = ["Graph", "Site", "register"]

Value = Any
"""An `onnx_ir.Value` that knows its shape: ("batch", C, H, W), or ("batch", C)."""

Emitter = Callable[["Site", Value], Any]

_emitters: list[tuple[Any, Emitter]] = []


def register(*kinds: Any) -> Callable[[Emitter], Emitter]:
    """Return a decorator that enters a function as what writes layers of these classes, or functions in their place.

    `@register(MyLayer)` goes before `def write(site, x)`, which returns the value that the layer makes of x:
    `site.op("Mul", x, site.array("scale", site.parameter("scale")))`. Images are (N, C, H, W) there, vectors (N, C).
    `site.layer` is the layer; see `Site`. What is entered later goes before what was.
    """
    ok = len(kinds) > 0 and all(callable(kind) for kind in kinds)
    expect(ok, "register", "classes of layers, or functions", shown(kinds), "Pass MyLayer, say.", TypeError)

    def enter(emitter: Emitter) -> Emitter:
        _emitters[:0] = [(kind, emitter) for kind in kinds]
        return emitter

    return enter


@dataclass
class Graph:
    """Nodes and arrays as they come.

    Args:
        shapes: of what each layer gives, by its path, axes as jaxcnn has them.
    """

    shapes: Mapping[str, Any]
    nodes: list[Any] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    def emit(self, module: Module, params: Any, state: Any, path: str, x: Value, shapes: Any = None) -> Any:
        """Return what a layer makes of x: a value, or a dict of values."""
        key = type(module) if isinstance(module, Layer) else module
        emitter = next((emitter for kind, emitter in _emitters if kind is key), None)
        if emitter is None:
            got = f"{show(module)[:LONGEST]} at {path!r}"
            fix = "Replace it with surgery.replace, or say how to write it with interop.onnx.register."
            expect(False, "export", "layers and functions that are known in ONNX", got, fix)
        assert emitter is not None
        y = emitter(Site(self, path, module, params, state), x)
        shapes = self.shapes[path] if shapes is None else shapes
        jax.tree.map(_give_shape, y, shapes)
        return y

    def unique(self, name: str) -> str:
        """Return the name, with a number where it is taken."""
        count = self.names[name] = self.names.get(name, 0) + 1
        return name if count == 1 else self.unique(f"{name}.{count}")


def _give_shape(value: Value, like: Any) -> None:
    import onnx_ir

    value.shape = onnx_ir.Shape(["batch", *channels_first(like.shape[1:])])
    value.dtype = onnx_ir.DataType.FLOAT


def channels_first(shape: Sequence[int]) -> tuple[int, ...]:
    """Return (C, H, W) of (H, W, C); (C,) stays as it is."""
    return (*shape[-1:], *shape[:-1])


def size_of(x: Value) -> tuple[int, int]:
    """Return the height and width of images (N, C, H, W)."""
    return int(x.shape[2]), int(x.shape[3])


def channels_of(x: Value) -> int:
    """Return how many channels images or vectors have."""
    return int(x.shape[1])


def is_images(x: Value) -> bool:
    """Return whether x is (N, C, H, W), no (N, C)."""
    return len(x.shape) == 4


@dataclass(frozen=True)
class Site:
    """Where a layer is written.

    Args:
        graph: into which.
        path: of the layer in the net, "stage1/conv1" say, under which all is named.
        layer: a layer or a function.
        params, state: the layer's own.
    """

    graph: Graph
    path: str
    layer: Any
    params: Any
    state: Any

    def op(self, kind: str, *inputs: Any, **attributes: Any) -> Value:
        """Return the output of a new node of this operator, given values, `array`s, or None for what is left out."""
        import onnx_ir

        name = self.graph.unique(f"{self.path}/{kind}".lstrip("/"))
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        node = onnx_ir.node(kind, list(inputs), attributes=attributes, name=name)
        node.outputs[0].name = name
        self.graph.nodes.append(node)
        return node.outputs[0]

    def array(self, name: str, value: Any) -> Value:
        """Return an array that is kept in the file, integers as int64, other numbers as float32."""
        import onnx_ir

        value = np.asarray(value)
        value = np.ascontiguousarray(value, np.int64 if value.dtype.kind in "iu" else np.float32)
        name = self.graph.unique(f"{self.path}/{name}".lstrip("/"))
        kept = onnx_ir.val(name, const_value=onnx_ir.tensor(value, name=name))
        self.graph.arrays.append(kept)
        return kept

    def parameter(self, name: str) -> np.ndarray | None:
        """Return a parameter of the layer, None where it has none of that name."""
        return np.asarray(self.params[name], np.float32) if name in self.params else None

    def along_channels(self, name: str, values: Any, x: Value) -> Value:
        """Return numbers, one for each channel of x or one for all, as an array that spreads over x."""
        values = np.asarray(values, np.float32)
        return self.array(name, values.reshape(-1, 1, 1) if is_images(x) else values)

    def child(self, name: str, x: Value) -> Any:
        """Return what one of the layer's children makes of x."""
        path = f"{self.path}/{name}".lstrip("/")
        params, state = (tree.get(name, {}) if isinstance(tree, Mapping) else {} for tree in (self.params, self.state))
        return self.graph.emit(children_of(self.layer)[name], params, state, path, x)

    def through(self, module: Module, x: Value, params: Any = None) -> Value:
        """Return what another layer, which does a part of this one's work, makes of x."""
        params = {} if params is None else params
        _, channels, *size = x.shape
        like = jax.ShapeDtypeStruct((1, *map(int, size), int(channels)), jnp.float32)
        made = jax.eval_shape(lambda p, x: apply(module, p, {}, x, train=False)[0], params, like)
        return self.graph.emit(module, params, {}, self.path, x, made)
