"""What flows through a graph that is read: its axes there and here, and the table of what reads each operator."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.checking import did_you_mean, expect, shown
from jaxcnn.functional.window import Pads
from jaxcnn.interop.onnx.branches import named
from jaxcnn.interop.onnx.model import Node
from jaxcnn.layers.layer import Module

__all__ = ["Call", "Flow", "Part", "read_by", "reader_of"]

FIRST, LAST, VECTOR, COLUMN = "(N, C, H, W)", "(N, H, W, C)", "(N, C)", "(N, C, 1, 1) of vectors"
ANY = (FIRST, LAST, VECTOR, COLUMN)


@dataclasses.dataclass(frozen=True)
class Flow:
    """A value of the graph.

    Args:
        shape: as jaxcnn has it, without the batch: (H, W, C) or (C,).
        axes: as the graph has them: FIRST, LAST, VECTOR, COLUMN, or those of channels in groups.
        order: (C, H, W) where the graph has flattened in this order what jaxcnn flattens as (H, W, C).
        pads: zeros around the image that the next operator has to see.
        groups: of the channels, where axes are those of groups.
    """

    shape: tuple[int, ...]
    axes: str
    order: tuple[int, int, int] | None = None
    pads: Pads | None = None
    groups: int = 1

    def now(self, **changed: Any) -> "Flow":
        """Return the value with some of it changed."""
        return dataclasses.replace(self, **changed)

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return self.shape[-1]


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer and what it owns."""

    layer: Module
    params: Any = dataclasses.field(default_factory=dict)
    state: Any = dataclasses.field(default_factory=dict)


Reader = Callable[["Call", Flow], tuple[list[Part], Flow]]
_readers: dict[str, tuple[Reader, tuple[str, ...], bool]] = {}


def read_by(*ops: str, axes: Sequence[str] = (FIRST,), pads: bool = False) -> Callable[[Reader], Reader]:
    """Return a decorator that enters what reads operators of values with such axes, and perhaps with zeros around."""

    def enter(reader: Reader) -> Reader:
        _readers.update({op: (reader, tuple(axes), pads) for op in ops})
        return reader

    return enter


def reader_of(node: Node, flow: Flow) -> Reader:
    """Return what reads the node; raise `ValueError` where nothing does."""
    fix = did_you_mean(node.op, _readers, f"There are {', '.join(sorted(_readers))}.", cutoff=0.4)
    expect(node.op in _readers, "load", "operators that are layers here", named(node), fix)
    reader, axes, pads = _readers[node.op]
    fits = flow.axes in axes
    expect(
        fits, "load", f"{node.op} of {' or '.join(axes)}", f"{flow.axes} for {named(node)}", "Export it in that order."
    )
    fix = "A convolution has to follow zeros around an image."
    expect(pads or flow.pads is None, "load", f"{node.op} without Pad before", named(node), fix)
    return reader


class Call(NamedTuple):
    """A node with the arrays that it is given."""

    node: Node
    arrays: dict[str, Any]

    def need(self, ok: bool, what: str, got: Any, fix: str = "Export it otherwise, or load the weights alone.") -> None:
        """Raise `ValueError`, naming the node, unless ok."""
        expect(ok, "load", f"{self.node.op} with {what}", f"{shown(got)} for {named(self.node)}", fix)

    def option(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        value = self.node.attributes.get(name, default)
        same = (
            default is None
            or isinstance(value, type(default))
            or (isinstance(value, list) and isinstance(default, tuple))
        )
        self.need(same, f"{name} like {default}", value)
        return tuple(value) if isinstance(value, list) else value

    def given(self, index: int) -> bool:
        """Return whether there is an input at this place."""
        return index < len(self.node.inputs) and self.node.inputs[index] != ""

    def array(self, index: int, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
        """Return the input at this place, which is an array, of this shape where given (None: any length)."""
        ok = self.given(index) and self.node.inputs[index] in self.arrays
        self.need(ok, f"an array as input {index}", list(self.node.inputs))
        value = self.arrays[self.node.inputs[index]]
        fits = shape is None or (
            value.ndim == len(shape) and all(w in (None, n) for n, w in zip(value.shape, shape, strict=True))
        )
        self.need(fits, f"an array of shape {shape} as input {index}", value.shape)
        return value

    def whole(self, index: int, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return ints, which newer operators take as an input and older ones as an attribute."""
        if self.given(index):
            value = self.array(index, (None,))
            self.need(value.dtype == np.int64, f"{name} as integers", value)
            return tuple(value.tolist())
        value = self.option(name)
        self.need(value is not None or default is not None, name, self.node.attributes)
        found: Any = default if value is None else value
        whole = isinstance(found, tuple) and all(isinstance(v, int) for v in found)
        self.need(whole, f"{name} as integers", found)
        return found

    def per_channel(self, index: int, flow: Flow) -> np.ndarray:
        """Return an array that has one number for all, (), or one for each channel, (C,)."""
        value = self.array(index)
        images = flow.axes in (FIRST, COLUMN)
        wanted = (flow.channels, 1, 1) if images else (flow.channels,)
        more = value.ndim - len(wanted)
        each = more >= 0 and value.shape[more:] == wanted and set(value.shape[:more]) <= {1}
        fits = (each or value.size == 1) and value.ndim <= (2 if flow.axes == VECTOR else 4)
        self.need(fits, f"a number for each of {flow.channels} channels as input {index}", value.shape)
        return value.reshape(()) if value.size == 1 else self.in_order(value.reshape(-1), flow)

    def in_order(self, value: np.ndarray, flow: Flow) -> np.ndarray:
        """Return the array with its first axis as jaxcnn flattens."""
        if flow.order is None:
            return value
        channels, height, width = flow.order
        rest = value.shape[1:]
        return (
            value.reshape(channels, height, width, *rest)
            .transpose(1, 2, 0, *range(3, 3 + len(rest)))
            .reshape(-1, *rest)
        )
