"""Convolution and its two gradients as primitives, so that each has its own program on each platform.

    convolve(x, k)          y[i] = sum_u x[i s + u d - p] k[u]
    input_gradient(g, k)    its transpose in x
    kernel_gradient(x, g)   its transpose in k

The three are bilinear, and each is made of the gradients of the others: forward and reverse mode of any order stay
among them. `fast_on_cpu` says by which form a CPU computes them, `library` has the form of other devices. Under `vmap`
operands get a leading axis of lanes; one of a single lane is shared by all. What the first two return is named "conv"
for `jax.checkpoint`, whose policies do not count primitives of our own among the dots: `save_only_these_names("conv")`
keeps it.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.interpreters import ad, batching, mlir

from jaxcnn.functional.primitives.fast_on_cpu import fast_on_cpu
from jaxcnn.functional.primitives.geometry import Forms, Geometry
from jaxcnn.functional.primitives.library import LIBRARY
from jaxcnn.functional.primitives.parts import joined

__all__ = ["convolve", "convolve_transposed", "multiply_adds"]

Pairs = Sequence[tuple[int, int]]


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
    groups: int = 1,
) -> jax.Array:
    """Return the maps (N, *positions, O) of images (N, *size, C) and a kernel (*window, C / groups, O) of one dtype."""
    y = _bind(_convolve, x, kernel, _geometry(x.shape[1:], kernel, stride, padding, dilation, groups))
    return checkpoint_name(y, "conv")


def convolve_transposed(
    g: jax.Array,
    kernel: jax.Array,
    *,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
    groups: int = 1,
) -> jax.Array:
    """Return the transpose of `convolve` in its images: maps g (N, *positions, O) -> images (N, *size, C)."""
    image = (*size, kernel.shape[-2] * groups)
    y = _bind(_input_gradient, g, kernel, _geometry(image, kernel, stride, padding, dilation, groups))
    return checkpoint_name(y, "conv")


def multiply_adds(eqn: Any) -> int | None:
    """Return the multiply-adds of an equation of a traced program that is one of the three, None of any other."""
    if eqn.primitive not in (_convolve, _input_gradient, _kernel_gradient):
        return None
    geometry = eqn.params["geometry"]
    lanes, batch = eqn.invars[0].aval.shape[:2]
    lanes = max(lanes, eqn.invars[1].aval.shape[0])
    return lanes * batch * math.prod(geometry.positions) * math.prod(geometry.kernel)


def _geometry(image, kernel, stride, padding, dilation, groups) -> Geometry:
    *window, _, features = kernel.shape
    *size, channels = image
    sides = tuple((int(before), int(after)) for before, after in padding)
    precision = jax.config.jax_default_matmul_precision  # of the trace, not of the compilation
    return Geometry(
        tuple(size), tuple(window), tuple(stride), sides, tuple(dilation), channels, features, groups, precision
    )


def _bind(primitive: Any, a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the primitive's value for operands without lanes, wherever and however they are sharded."""

    def bind(a: jax.Array, b: jax.Array) -> jax.Array:
        return primitive.bind(*_equally_varying(a[None], b[None]), geometry=geometry)[0]

    sharding = jax.typeof(a).sharding
    if jax.sharding.AxisType.Explicit not in (sharding.mesh.axis_types or ()):
        return bind(a, b)
    # On explicit meshes the batch stays where it is.
    spread = jax.NamedSharding(sharding.mesh, jax.P(sharding.spec[0]))
    automatic: Any = jax.sharding.auto_axes(bind, out_sharding=spread)
    return automatic(a, b)


def _equally_varying(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inside of `shard_map` both operands must be said to vary over the same axes, or gradients stay local."""
    axes = [_varying(a), _varying(b)]
    both = axes[0] | axes[1]
    a, b = (
        lax.pcast(v, tuple(both - had), to="varying") if both - had else v for v, had in zip((a, b), axes, strict=True)
    )
    return a, b


def _varying(a: jax.Array) -> frozenset[str]:
    aval = jax.typeof(a)
    return frozenset(aval.vma if hasattr(aval, "vma") else aval.manual_axis_type.varying)


# The primitives, all on operands with lanes: (lanes or 1, N, *size, channels) and (lanes or 1, *kernel)


def _primitive(name: str, shape_of) -> Any:
    primitive = jax.extend.core.Primitive(name)

    primitive.def_impl(jax.jit(primitive.bind, static_argnames="geometry"))
    primitive.def_abstract_eval(
        lambda a, b, *, geometry: a.update(
            shape=(max(a.shape[0], b.shape[0]), *shape_of(a, geometry)), dtype=a.dtype, weak_type=False
        )
    )
    batching.primitive_batchers[primitive] = lambda operands, dims, *, geometry: _batch(
        primitive, operands, dims, geometry
    )
    return primitive


_convolve = _primitive("convolve", lambda x, geometry: (x.shape[1], *geometry.positions, geometry.features))
_input_gradient = _primitive(
    "convolve_input_gradient", lambda g, geometry: (g.shape[1], *geometry.size, geometry.channels)
)
_kernel_gradient = _primitive("convolve_kernel_gradient", lambda x, geometry: geometry.kernel)


def _transposes(primitive: Any, in_first, in_second) -> None:
    """Enter the two transposes of a bilinear primitive, each `(cotangent, the other operand, geometry) -> value`."""

    def first(ct, a, b, *, geometry):
        return _own_lanes(in_first(*_equally_varying(ct, b), geometry), a)

    def second(ct, a, b, *, geometry):
        return _own_lanes(in_second(*_equally_varying(ct, a), geometry), b)

    ad.defbilinear(primitive, first, second)


def _own_lanes(value: jax.Array, operand: Any) -> jax.Array:
    """Return the gradient of an operand that all lanes share: the sum over the lanes."""
    lanes = getattr(operand, "aval", operand).shape[0]
    return value if value.shape[0] == lanes else jnp.sum(value, axis=0, keepdims=True)


_transposes(
    _convolve,
    lambda ct, kernel, geometry: _input_gradient.bind(ct, kernel, geometry=geometry),
    lambda ct, x, geometry: _kernel_gradient.bind(x, ct, geometry=geometry),
)
_transposes(
    _input_gradient,
    lambda ct, kernel, geometry: _convolve.bind(ct, kernel, geometry=geometry),
    lambda ct, g, geometry: _kernel_gradient.bind(ct, g, geometry=geometry),
)
_transposes(
    _kernel_gradient,
    lambda ct, g, geometry: _input_gradient.bind(g, ct, geometry=geometry),
    lambda ct, x, geometry: _convolve.bind(x, ct, geometry=geometry),
)


def _batch(primitive: Any, operands, dims, geometry: Geometry):
    """Return the value of operands of which one or both have an axis more, and where that axis is."""
    lanes = next(v.shape[d] for v, d in zip(operands, dims, strict=True) if d is not None)
    if lanes and dims[1] is None and primitive is not _kernel_gradient and operands[1].shape[0] == 1:
        # More images for the same kernel.
        a = jnp.moveaxis(operands[0], dims[0], 1)
        a = a.reshape(a.shape[0], lanes * a.shape[2], *a.shape[3:])
        y = primitive.bind(*_equally_varying(a, operands[1]), geometry=geometry)
        return y.reshape(y.shape[0], lanes, y.shape[1] // lanes, *y.shape[2:]), 1
    if lanes == 0:
        one = [
            v if d is None else jax.ShapeDtypeStruct((*v.shape[:d], *v.shape[d + 1 :]), v.dtype)
            for v, d in zip(operands, dims, strict=True)
        ]
        y = jax.eval_shape(functools.partial(primitive.bind, geometry=geometry), *one)
        return jnp.zeros((0, *y.shape), y.dtype), 0
    operands = [jnp.moveaxis(v, d, 0) if d is not None else v[None] for v, d in zip(operands, dims, strict=True)]
    inner = max(v.shape[1] for v in operands)
    # An operand that neither the new nor an older map maps stays shared.
    operands = [
        v[0] if v.shape[:2] == (1, 1) else jnp.broadcast_to(v, (lanes, inner, *v.shape[2:])).reshape(-1, *v.shape[2:])
        for v in operands
    ]
    y = primitive.bind(*_equally_varying(*operands), geometry=geometry)
    return y.reshape(lanes, inner, *y.shape[1:]), 0


def _lower(primitive: Any, name: str) -> None:
    """Enter the programs of a primitive: the library's, and on CPU the fast ones."""

    def program(choose):
        def run(a: jax.Array, b: jax.Array, *, geometry: Geometry) -> jax.Array:
            sizes = (*a.shape, *b.shape, *geometry.size)
            known = all(isinstance(n, int) and n > 0 for n in sizes)  # no symbols of an export, no empty arrays
            forms: Forms = choose(geometry, a.shape[1], a.dtype) if known else LIBRARY
            form = functools.partial(getattr(forms, name), geometry=geometry)
            mapped = [v.shape[0] > 1 for v in (a, b)]
            a, b = (v if many else v[0] for v, many in zip((a, b), mapped, strict=True))
            if not any(mapped):
                return form(a, b)[None]
            if not forms.sequential:
                return jax.vmap(form, [0 if many else None for many in mapped])(a, b)
            if all(mapped):
                return joined(form, (a, b))
            return joined(lambda lane: form(lane, b), [a]) if mapped[0] else joined(lambda lane: form(a, lane), [b])

        return mlir.lower_fun(run, multiple_results=False)

    mlir.register_lowering(primitive, program(lambda *case: LIBRARY))
    mlir.register_lowering(primitive, program(fast_on_cpu), platform="cpu")


_lower(_convolve, "convolve")
_lower(_input_gradient, "input_gradient")
_lower(_kernel_gradient, "kernel_gradient")
