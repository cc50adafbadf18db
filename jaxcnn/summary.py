"""What a net costs and sees, layer by layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.extend.core import jaxprs_in_params

from jaxcnn.checking import expect, shown
from jaxcnn.functional.primitives.convolve import multiply_adds
from jaxcnn.functional.window import pair
from jaxcnn.layers.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.composition import Concat, Residual, Sequential
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.layer import Layer, Module, Spec, apply, expect_spec, init, name_of
from jaxcnn.layers.transposed import ConvTranspose
from jaxcnn.surgery.tree import unwrapped

__all__ = ["Row", "Summary", "summarize"]


@dataclass(frozen=True)
class Row:
    """One layer: its path, kind, output shape, parameters, multiply-adds of one image, and receptive field.

    `receptive_field` is (height, width) in pixels of the input, unclipped, or None once every output sees the whole
    image (after flattening or global pooling). It follows from a layer's `kernel_size` or `window`, `stride` and
    `dilation`; layers without them, functions included, are taken to work pixel by pixel. After a transposed
    convolution neighbouring outputs see differently many pixels: the figure is the most that one of them sees, or more
    where its stride meets a dilation of its own or a stride further on. A `Gate` that looks at the whole image sees
    what it weighs. Composites stand before their parts, with the parts' totals; of an `Auxiliary` net, whose outputs
    have names, "logits" is shown.
    """

    path: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, int] | None


@dataclass(frozen=True)
class Summary:
    """The rows of a net and its totals; `print` shows a table."""

    rows: tuple[Row, ...]
    parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        """Return the table as aligned text."""
        head = ("layer", "kind", "output", "parameters", "multiply-adds", "sees")
        body = [
            (
                "  " * row.path.count("/") + row.path.rsplit("/", 1)[-1],
                row.kind,
                "x".join(map(str, row.output[1:])),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                "all" if row.receptive_field is None else "x".join(map(str, row.receptive_field)),
            )
            for row in self.rows
        ]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", "")
        widths = [max(map(len, column)) for column in zip(head, *body, total, strict=True)]
        right = (False, False, True, True, True, True)

        def line(cells: tuple[str, ...]) -> str:
            columns = zip(cells, widths, right, strict=True)
            return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in columns).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([line(head), rule, *map(line, body), rule, line(total)])


def summarize(net: Layer, spec: Spec) -> Summary:
    """Return a table of the net: output shape, parameters, multiply-adds and receptive field of every layer.

    Multiply-adds are those of convolutions and matrix products for one image in inference, counted in the traced
    program, so that layers of one's own are counted too; nothing is computed.

    Args:
        net: a layer.
        spec: shape (batch axis included) and dtype of its input.

    Returns:
        A `Summary`: `.rows`, `.parameters`, `.multiply_adds`; `print(summary)` shows the table.

    Raises:
        ValueError, TypeError: the net does not take such an input; as `net.init` raises.
    """
    fix = "Pass a net such as Sequential(...)."
    expect(isinstance(net, Layer), "summarize", "a layer", shown(net), fix, TypeError)
    expect_spec("summarize", spec, one=True)
    expect(len(spec.shape) >= 2, "summarize", "a spec with a batch axis", spec.shape, "Add it: (1, H, W, C).")
    spec = jax.ShapeDtypeStruct((1, *spec.shape[1:]), spec.dtype)
    params, state = jax.eval_shape(lambda key: init(net, key, spec), jax.random.key(0))
    rows, parameters, multiply_adds, _, _ = _walk(net, "", params, state, spec, _Field())
    return Summary(tuple(rows), parameters, multiply_adds)


@dataclass(frozen=True)
class _Field:
    """What one output sees, by the layers on the way to it, for each axis."""

    steps: tuple[tuple["_Step", ...], tuple["_Step", ...]] = ((), ())

    @property
    def size(self) -> tuple[int, int]:
        """Pixels of the input."""
        return _pixels(self.steps[0]), _pixels(self.steps[1])

    def after(
        self, stride: tuple[int, int], dilation: tuple[int, int], window: tuple[int, int], enlarges: bool
    ) -> "_Field":
        rows, columns = (
            (*before, _Step(s, (w - 1) * d + 1, enlarges))
            for before, s, d, w in zip(self.steps, stride, dilation, window, strict=True)
        )
        return _Field((rows, columns))


class _Step(NamedTuple):
    """One layer along one axis."""

    stride: int
    span: int
    enlarges: bool  # whether it is a transposed convolution


def _pixels(steps: tuple[_Step, ...]) -> int:
    """Return how many neighbouring pixels of the input one output sees at most, going back layer by layer."""
    count = 1
    for stride, span, enlarges in reversed(steps):
        count = -(-(count + span - 1) // stride) if enlarges else (count - 1) * stride + span
    return count


def _walk(module: Module, path: str, params: Any, state: Any, spec: jax.ShapeDtypeStruct, field: _Field | None):
    """Return rows, parameters, multiply-adds, output spec and field of one layer and its parts."""

    def forward(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return apply(module, params, state, x, train=False)[0]

    traced = jax.make_jaxpr(forward, return_shape=True)(params, state, spec)
    output = traced[1]["logits"] if isinstance(traced[1], Mapping) else traced[1]
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    cost = _multiply_adds(traced[0].jaxpr)

    inner = unwrapped(module)
    chained = isinstance(inner, Sequential | Auxiliary)
    taps = dict(inner.taps) if isinstance(inner, Auxiliary) else {}
    given: dict[str, Any] = {}  # what each part gives to the next one, or to heads
    rows: list[Row] = []
    fields: list[_Field | None] = []
    inside, incoming = spec, field
    # Only of these is it known what their children are given; a composite of one's own is one row.
    open_ = isinstance(inner, Sequential | Auxiliary | Residual | Concat | Gate)
    for name, child in (inner.children() if open_ else {}).items():
        x, seen_by_x = given[taps[name]] if name in taps else (inside, incoming)
        p, s = (tree.get(name, {}) if isinstance(tree, Mapping) else {} for tree in (params, state))
        child_rows, _, _, child_output, child_field = _walk(child, f"{path}{name}/", p, s, x, seen_by_x)
        rows += child_rows
        given[name] = child_output, child_field
        if chained and name not in taps:
            inside, incoming = given[name]
        fields.append(incoming if chained else given[name][1])
    if isinstance(inner, Gate) and None in fields:
        fields = [field]  # what the whole image weighs is still a part of it

    adaptive = isinstance(inner, AdaptiveAvgPool | AdaptiveMaxPool) and output.shape != spec.shape
    if len(output.shape) < 4 or field is None or None in fields or adaptive:
        field = None  # adaptive windows grow with the image
    elif fields:
        field = fields[-1] if chained else _widest([f for f in fields if f is not None])
    else:
        stride, dilation = getattr(inner, "stride", 1) or _window(inner), getattr(inner, "dilation", 1)
        stride, dilation = pair("", "", stride), pair("", "", dilation)
        field = field.after(stride, dilation, _window(inner), isinstance(inner, ConvTranspose))
    if path:
        seen = None if field is None else field.size
        rows.insert(
            0,
            Row(
                path[:-1],
                type(inner).__name__ if isinstance(inner, Layer) else name_of(inner),
                output.shape,
                parameters,
                cost,
                seen,
            ),
        )
    return rows, parameters, cost, output, field


def _widest(fields: list[_Field]) -> _Field:
    """Return what parallel branches see together, taking them to be centred on the same pixel."""
    return _Field((max((f.steps[0] for f in fields), key=_pixels), max((f.steps[1] for f in fields), key=_pixels)))


def _window(layer: Module) -> tuple[int, int]:
    return pair("", "", getattr(layer, "kernel_size", getattr(layer, "window", 1)))


def _multiply_adds(jaxpr: Any) -> int:
    """Count multiply-adds of convolutions and matrix products in a traced program and the programs it calls."""
    total = 0
    for eqn in jaxpr.eqns:
        out = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
        own = multiply_adds(eqn)
        if own is not None:
            total += own
        elif eqn.primitive.name == "conv_general_dilated":
            kernel, dims = eqn.invars[1].aval.shape, eqn.params["dimension_numbers"]
            total += out * math.prod(kernel) // kernel[dims.rhs_spec[0]]
        elif eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += out * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
        times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        total += times * sum(_multiply_adds(inner) for inner in jaxprs_in_params(eqn.params))
    return total
