"""Values of an image between its pixels and outside its frame."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.options import Padding

__all__ = ["bilinear"]


def bilinear(image: jax.Array, y: jax.Array, x: jax.Array, *, padding_mode: Padding, fill: float) -> jax.Array:
    """Return the image (H', W', C) of the values at the rows y and columns x, both float32 (H', W')."""
    # Coordinates are brought inside the frame first, so that the gathers need no masks. Of 512 32x32x3
    # images on CPU four gathers were the fastest form: with masks they took x1.4, one gather of 2x2 windows
    # x1.6, one of four stacked images x9, products with matrices of weights x80.
    if padding_mode == "constant":
        image = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=fill)
        y, x = y + 1, x + 1
    height, width, _ = image.shape
    y, x = _inside(y, height, padding_mode), _inside(x, width, padding_mode)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    v, u = (y - top)[..., None], (x - left)[..., None]

    def at(row: jax.Array, column: jax.Array) -> jax.Array:
        return image.at[row, column].get(mode="promise_in_bounds").astype(jnp.float32)

    upper = (1 - u) * at(top, left) + u * at(top, right)
    lower = (1 - u) * at(bottom, left) + u * at(bottom, right)
    out = ((1 - v) * upper + v * lower).astype(image.dtype)
    # Without the barrier XLA repeats the gathers for each reader: a rotation before a flip took x2.
    return jax.lax.optimization_barrier(out)


def _inside(position: jax.Array, size: int, padding_mode: Padding) -> jax.Array:
    if padding_mode == "reflect" and size > 1:
        position = jnp.abs(position) % (2 * (size - 1))
        position = jnp.minimum(position, 2 * (size - 1) - position)
    return jnp.clip(position, 0, size - 1)
