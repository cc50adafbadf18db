"""Where an operation takes its numbers from: the places of what it gives, of the places of what it is given."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["ELEMENTWISE", "NOWHERE", "RULES", "Value", "filled", "least", "lesser"]

NOWHERE = 2**30
"""The place of what depends on no pixel: above all numbers."""

Rule = Callable[[Any, list["Value"]], Any]
"""An equation of a program and what it is given -> the places of what it gives, or None where it is not known."""


class Value(NamedTuple):
    """Either places, or none and, where it is a constant, the value itself."""

    places: jax.Array | None = None
    known: Any = None


def filled(value: Value, like: Any) -> jax.Array:
    """Return places of the shape that a program says, of what depends on nothing, too."""
    return jnp.full(like.aval.shape, NOWHERE, jnp.int32) if value.places is None else value.places


def lesser(some: Sequence[jax.Array]) -> jax.Array:
    """Return the lesser of several places, one by one."""
    return functools.reduce(jnp.minimum, some)


def least(given: Sequence[Value], like: Any) -> Value:
    """Return the least places of values that have all one shape, or no axes."""
    some = [value.places for value in given if value.places is not None]
    return Value(jnp.broadcast_to(lesser(some), like.aval.shape)) if some else Value()


def _moved(eqn: Any, given: list[Value]) -> Any:
    """What puts numbers elsewhere does the same with their places."""
    places = [filled(value, atom) for value, atom in zip(given, eqn.invars, strict=True)]
    return eqn.primitive.bind(*places, **eqn.params)


def _picked(eqn: Any, given: list[Value]) -> jax.Array | None:
    """Likewise by indices, where these are constants."""
    taken, indices = given[0].places, [value.known for value in given[1:]]
    if taken is None or any(index is None for index in indices):
        return None
    return eqn.primitive.bind(taken, *indices, **eqn.params)


def _reduced(eqn: Any, given: list[Value]) -> jax.Array | None:
    places = given[0].places
    return None if places is None else jnp.min(places, axis=eqn.params["axes"], initial=NOWHERE)


def _product(eqn: Any, given: list[Value]) -> jax.Array:
    """Return places of (batch, rows, columns), each the least along the summed axes where the other side is not 0."""
    sides, sizes = [], []
    for value, atom, summed, batch in zip(given, eqn.invars, *eqn.params["dimension_numbers"], strict=True):
        shape = atom.aval.shape
        parts = batch, [axis for axis in range(len(shape)) if axis not in (*summed, *batch)], summed
        sizes = [math.prod(shape[axis] for axis in axes) for axes in parts]
        order = [axis for axes in parts for axis in axes]
        arranged = [None if held is None else jnp.transpose(held, order).reshape(sizes) for held in value]
        sides.append((sizes, *arranged))
    (left_sizes, left, left_known), (right_sizes, right, right_known) = sides
    found = []
    for numbers, other, axis in ((left, right_known, 2), (right, left_known, 1)):
        if numbers is not None:
            numbers = jnp.expand_dims(numbers, axis)
            if other is not None:
                numbers = jnp.where(jnp.expand_dims(other, 3 - axis) != 0, numbers, NOWHERE)
            found.append(jnp.min(numbers, axis=-1, initial=NOWHERE))
    whole = (left_sizes[0], left_sizes[1], right_sizes[1])
    return jnp.broadcast_to(lesser(found), whole).reshape(eqn.outvars[0].aval.shape)


def _windowed(x: jax.Array, window: Any, stride: Any, padding: Any, base: Any, dilation: Any) -> jax.Array:
    """Return the least place under each window; there is one entry for each axis of x."""
    sides = [(*pads, gap - 1) for pads, gap in zip(padding, base, strict=True)]  # negative ones crop
    x = lax.pad(x, jnp.int32(NOWHERE), sides)
    return lax.reduce_window(
        x, jnp.int32(NOWHERE), lax.min, tuple(window), tuple(stride), "VALID", window_dilation=tuple(dilation)
    )


def _pooled(eqn: Any, given: list[Value]) -> jax.Array | None:
    names = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
    places = given[0].places
    return None if places is None else _windowed(places, *(eqn.params[name] for name in names))


def _convolution(
    x: jax.Array, features: int, groups: int, window: Any, stride: Any, padding: Any, base: Any, dilation: Any
) -> jax.Array:
    """Return places (..., *positions, features) of (..., *size, channels); options have an entry for each axis."""
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups).min(-1)
    before, ones = x.ndim - 1 - len(window), (1,) * (x.ndim - 1 - len(window))
    options = [(*ones, *entries, 1) for entries in (window, stride, base, dilation)]
    window, stride, base, dilation = options
    y = _windowed(x, window, stride, [(0, 0)] * before + [*padding, (0, 0)], base, dilation)
    return jnp.repeat(y, features // groups, axis=-1)


def _library_convolution(eqn: Any, given: list[Value]) -> jax.Array | None:
    x, kernel = given[0].places, eqn.invars[1].aval
    options = eqn.params
    if x is None or given[1].places is not None or options["batch_group_count"] != 1:
        return None
    dims = options["dimension_numbers"]
    to_last = (dims.lhs_spec[0], *dims.lhs_spec[2:], dims.lhs_spec[1])
    window = [kernel.shape[axis] for axis in dims.rhs_spec[2:]]
    y = _convolution(
        x.transpose(to_last), kernel.shape[dims.rhs_spec[0]], options["feature_group_count"], window,
        options["window_strides"], options["padding"], options["lhs_dilation"], options["rhs_dilation"],
    )  # fmt: skip
    back = (dims.out_spec[0], *dims.out_spec[2:], dims.out_spec[1])
    return y.transpose([back.index(axis) for axis in range(y.ndim)])


def _own_convolution(eqn: Any, given: list[Value]) -> jax.Array | None:
    """Of `functional.primitives.convolve`, whose operands have an axis of lanes."""
    x, g = given[0].places, eqn.params["geometry"]
    if x is None or given[1].places is not None:
        return None
    y = _convolution(x, g.features, g.groups, g.window, g.stride, g.padding, (1,) * len(g.size), g.dilation)
    return jnp.broadcast_to(y, eqn.outvars[0].aval.shape)


def _transposed_convolution(eqn: Any, given: list[Value]) -> jax.Array | None:
    """Pixel i of the image meets position p of the maps by tap u where p s + u d - before = i."""
    x, g = given[0].places, eqn.params["geometry"]
    if x is None or given[1].places is not None:
        return None
    axes = zip(g.size, g.positions, g.window, g.stride, g.padding, g.dilation, strict=True)
    padding = [((w - 1) * d - before, n - 1 - (m - 1) * s + before) for n, m, w, s, (before, _), d in axes]
    y = _convolution(x, g.channels, g.groups, g.window, (1,) * len(g.size), padding, g.stride, g.dilation)
    return jnp.broadcast_to(y, eqn.outvars[0].aval.shape)


# By the names that JAX gives its operations, and we ours.
_ELEMENTWISE = """
abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp complex conj
convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt imag
integer_pow is_finite le lgamma log log1p log2 logistic lt max min mul name ne neg nextafter not or pcast pow pvary
real reduce_precision rem round rsqrt select_n sharding_constraint sign sin sinh sqrt square stop_gradient sub tan
tanh xor
"""
_ELSEWHERE = "reshape transpose squeeze expand_dims broadcast_in_dim rev slice concatenate split pad"
_OVER_AXES = "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax argmin"
_OVER_WINDOWS = "reduce_window reduce_window_sum reduce_window_max reduce_window_min"

ELEMENTWISE = frozenset(_ELEMENTWISE.split())
"""Operations that make each number of those at the same place."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELSEWHERE.split(), _moved),
    **dict.fromkeys(("gather", "dynamic_slice"), _picked),
    **dict.fromkeys(_OVER_AXES.split(), _reduced),
    **dict.fromkeys(_OVER_WINDOWS.split(), _pooled),
    "optimization_barrier": lambda eqn, given: [filled(v, atom) for v, atom in zip(given, eqn.invars, strict=True)],
    "dot_general": _product,
    "conv_general_dilated": _library_convolution,
    "convolve": _own_convolution,
    "convolve_input_gradient": _transposed_convolution,
}
