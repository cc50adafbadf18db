"""What a net costs and sees, layer by layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
from jax.extend.core import jaxprs_in_params

from jaxcnn.checking import expect
from jaxcnn.functional.primitives.convolve import multiply_adds
from jaxcnn.layers.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.composition import Sequential, kept
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.layer import Layer, Module, Spec, apply, expect_net, expect_spec, init, name_of
from jaxcnn.surgery.reach import Reach, reach_of
from jaxcnn.surgery.tree import COMPOSED, unwrapped

__all__ = ["Row", "Summary", "summarize"]


@dataclass(frozen=True)
class Row:
    """One layer: its path, kind, output shape, parameters, multiply-adds of one image, and receptive field.

    `receptive_field` is (height, width) in pixels of the input, unclipped; "all" once every output sees the whole image
    (after flattening or global pooling); or "unknown" from a layer on that does not say how far it looks, such as one
    of Flax. A layer says it by `kernel_size` or `window`, `stride` and `dilation`; those of `jaxcnn.layers` without
    them work pixel by pixel, and so, it is taken, do functions that keep the size. After a transposed convolution
    neighbouring outputs see differently many pixels: the figure is the most that one of them sees, or more where its
    stride meets a dilation of its own or a stride further on. Statistics of the whole image, of `GroupNorm` say, do
    not count, and a `Gate` that looks at the whole image sees what it weighs. (`explain.inside.receptive_field` follows
    the pixels through the traced program instead.) Composites stand before their parts, with the parts' totals; of an
    `Auxiliary` net, whose outputs have names, "logits" is shown.
    """

    path: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, int] | Literal["all", "unknown"]


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
                seen if isinstance(seen := row.receptive_field, str) else "x".join(map(str, seen)),
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
    expect_net("summarize", net)
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

    def after(self, reach: Reach) -> "_Field":
        rows, columns = (
            (*before, _Step(stride, (window - 1) * dilation + 1, reach.enlarges))
            for before, window, stride, dilation in zip(self.steps, *reach[:3], strict=True)
        )
        return _Field((rows, columns))


class _Step(NamedTuple):
    """One layer along one axis."""

    stride: int
    span: int
    enlarges: bool  # whether the stride is one of outputs


def _pixels(steps: tuple[_Step, ...]) -> int:
    """Return how many neighbouring pixels of the input one output sees at most, going back layer by layer."""
    count = 1
    for stride, span, enlarges in reversed(steps):
        count = -(-(count + span - 1) // stride) if enlarges else (count - 1) * stride + span
    return count


_Sees = _Field | Literal["all", "unknown"]


def _walk(module: Module, path: str, params: Any, state: Any, spec: jax.ShapeDtypeStruct, field: _Sees):
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
    fields: list[_Sees] = []
    inside, incoming = spec, field
    # A composite of one's own is one row.
    for name, child in (inner.children() if isinstance(inner, COMPOSED) else {}).items():
        x, seen_by_x = given[taps[name]] if name in taps else (inside, incoming)
        p, s = kept(params, name), kept(state, name)
        child_rows, _, _, child_output, child_field = _walk(child, f"{path}{name}/", p, s, x, seen_by_x)
        rows += child_rows
        given[name] = child_output, child_field
        if chained and name not in taps:
            inside, incoming = given[name]
        fields.append(incoming if chained else given[name][1])
    if len(output.shape) < 4:
        field = "all"
    elif isinstance(inner, Gate) and "all" in fields:
        pass  # what the whole image weighs is still a part of it
    elif fields:
        field = fields[-1] if chained else _together(fields)
    elif isinstance(field, _Field):
        field = _after(field, inner, spec.shape, output.shape)
    if path:
        kind = type(inner).__name__ if isinstance(inner, Layer) else name_of(inner)
        seen = field.size if isinstance(field, _Field) else field
        rows.insert(0, Row(path[:-1], kind, output.shape, parameters, cost, seen))
    return rows, parameters, cost, output, field


def _after(field: _Field, module: Module, given: tuple[int, ...], output: tuple[int, ...]) -> _Sees:
    """Return what one output of a layer that is not made of others sees, of the shapes it is given and gives."""
    if isinstance(module, AdaptiveAvgPool | AdaptiveMaxPool) and output != given:
        return "all"  # adaptive windows grow with the image
    reach = reach_of(module)
    resizes = reach == Reach() and output[1:-1] != given[1:-1]
    return "unknown" if reach is None or resizes else field.after(reach)


def _together(fields: list[_Sees]) -> _Sees:
    """Return what parallel branches see together, taking them to be centred on the same pixel."""
    for seen in ("all", "unknown"):
        if seen in fields:
            return seen
    known = [field for field in fields if isinstance(field, _Field)]
    rows, columns = (max((field.steps[axis] for field in known), key=_pixels) for axis in (0, 1))
    return _Field((rows, columns))


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
