"""A batch in parts: a few images at a time, so that what is between two large arrays stays in the cache.

Part j has the images j, j + parts, ...: of a batch that is spread over devices each device has some.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["joined_parts", "summed_parts"]


def joined_parts(run: Callable[[jax.Array], jax.Array], x: jax.Array, images: int) -> jax.Array:
    """Return what `run` makes of a batch, of about `images` images at a time."""
    (x,) = _split([x], images)
    part = jax.eval_shape(run, x[:, 0])
    # Each part is written to its place. What stands there before depends on x, or XLA would reserve the memory of
    # every convolution of a net at the start of its program.
    before = x.reshape(*x.shape[:2], -1)[..., 0].astype(part.dtype)
    y = jnp.broadcast_to(jnp.expand_dims(before, tuple(range(2, part.ndim + 1))), (*x.shape[:2], *part.shape[1:]))

    def body(j: jax.Array, y: jax.Array) -> jax.Array:
        return lax.dynamic_update_index_in_dim(y, run(_part(x, j)), j, 1)

    return lax.fori_loop(0, x.shape[1], body, y).reshape(-1, *part.shape[1:])


def summed_parts(run: Callable[..., jax.Array], arrays: Sequence[jax.Array], images: int) -> jax.Array:
    """Return the sum of what `run` makes of about `images` images at a time."""
    arrays = _split(arrays, images)

    def body(j: jax.Array, total: jax.Array) -> jax.Array:
        return total + run(*(_part(a, j) for a in arrays))

    return lax.fori_loop(1, arrays[0].shape[1], body, run(*(a[:, 0] for a in arrays)))


def _split(arrays: Sequence[jax.Array], images: int) -> list[jax.Array]:
    """Return (images of a part, parts, ...)."""
    batch = arrays[0].shape[0]
    images = max(count for count in range(1, min(images, batch) + 1) if batch % count == 0)
    return [a.reshape(images, batch // images, *a.shape[1:]) for a in arrays]


def _part(a: jax.Array, j: jax.Array) -> jax.Array:
    return lax.dynamic_index_in_dim(a, j, 1, keepdims=False)
