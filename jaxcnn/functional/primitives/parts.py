"""Loops over lanes or groups, and over a batch a few images at a time, so that what is in between stays in the cache.

Part j of a batch has the images j, j + parts, ...: of a batch that is spread over devices each device has some, if a
part has enough of them.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["joined", "joined_parts", "summed_parts"]


def joined(run: Callable[..., jax.Array], arrays: Sequence[jax.Array], axis: int = 0) -> jax.Array:
    """Return what `run` makes of each slice along an axis, stacked along it: `lax.map`, with less memory.

    The axes before it are the same in the first of the arrays and in what `run` returns.
    """
    spec = jax.eval_shape(run, *(_spec(a, axis) for a in arrays))
    shape = (*spec.shape[:axis], arrays[0].shape[axis], *spec.shape[axis:])

    def body(j: jax.Array, y: jax.Array) -> jax.Array:
        return lax.dynamic_update_index_in_dim(y, run(*(_slice(a, j, axis) for a in arrays)), j, axis)

    return lax.fori_loop(0, shape[axis], body, _overwritten(arrays[0], shape, spec.dtype, axis + 1))


def joined_parts(run: Callable[[jax.Array], jax.Array], x: jax.Array, images: int) -> jax.Array:
    """Return what `run` makes of a batch, at most `images` images at a time."""
    y = joined(run, _split([x], images), axis=1)
    return y.reshape(x.shape[0], *y.shape[2:])


def summed_parts(run: Callable[..., jax.Array], arrays: Sequence[jax.Array], images: int) -> jax.Array:
    """Return the sum, in its dtype, of what `run` makes of a batch, at most `images` images at a time."""
    split = _split(arrays, images)
    spec = jax.eval_shape(run, *(_spec(a, 1) for a in split))

    def body(j: jax.Array, total: jax.Array) -> jax.Array:
        part = run(*(_slice(a, j, 1) for a in split))
        return jnp.where(j == 0, part, total + part)

    return lax.fori_loop(0, split[0].shape[1], body, _overwritten(split[0], spec.shape, spec.dtype, 0))


def _split(arrays: Sequence[jax.Array], images: int) -> list[jax.Array]:
    """Return (images of a part, parts, ...)."""
    batch = arrays[0].shape[0]
    images = max(count for count in range(1, min(images, batch) + 1) if batch % count == 0)
    return [a.reshape(images, batch // images, *a.shape[1:]) for a in arrays]


def _spec(a: jax.Array, axis: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*a.shape[:axis], *a.shape[axis + 1 :]), a.dtype)


def _slice(a: jax.Array, j: jax.Array, axis: int) -> jax.Array:
    return lax.dynamic_index_in_dim(a, j, axis, keepdims=False)


def _overwritten(x: jax.Array, shape: Sequence[int], dtype: jnp.dtype, axes: int) -> jax.Array:
    """Return an initial value that a loop overwrites entirely; its first `axes` axes are those of x.

    It varies as x does. And it depends on x: XLA on CPU moves what depends on nothing to the start of the program,
    and with it the memory for the maps of every convolution of a net.
    """
    some = x[(slice(None),) * axes + (0,) * (x.ndim - axes)]
    return lax.broadcast_in_dim(some.astype(dtype), shape, range(axes))
