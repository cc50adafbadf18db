"""Values of an image or a mask between its pixels and outside its frame."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import Outside, Padding

__all__ = ["bilinear", "nearest", "resampling"]


def resampling(y: jax.Array, x: jax.Array, points: Callable[[jax.Array], jax.Array], *, outside: Outside) -> Motion:
    """Return the motion that fetches what comes to pixel (i, j) from the row y[i, j] and the column x[i, j].

    Args:
        y, x: float32 (H', W'), where the centre of pixel (i, j) is at row i and column j.
        points: moves points the other way, from where they are fetched to where they come.
        outside: what lies outside the frame.
    """
    mode, fill, mask_fill = outside
    return Motion(
        frame=(y.shape[0], y.shape[1]),
        pixels=lambda image: bilinear(image, y, x, padding_mode=mode, fill=fill),
        labels=lambda mask: nearest(mask, y, x, padding_mode=mode, fill=mask_fill),
        points=points,
    )


def bilinear(image: jax.Array, y: jax.Array, x: jax.Array, *, padding_mode: Padding, fill: float) -> jax.Array:
    """Return the values (..., C) of an image at the rows y and columns x, both float32 (...)."""
    # Coordinates are brought inside the frame first, so that the gathers need no masks. Of 512 32x32x3
    # images on CPU four gathers were the fastest form: with masks they took x1.4, one gather of 2x2 windows
    # x1.6, one of four stacked images x9, products with matrices of weights x80.
    image, y, x = _inside(image, y, x, padding_mode, fill)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, image.shape[0] - 1), jnp.minimum(left + 1, image.shape[1] - 1)
    v, u = (y - top)[..., None], (x - left)[..., None]

    def at(row: jax.Array, column: jax.Array) -> jax.Array:
        return image.at[row, column].get(mode="promise_in_bounds").astype(jnp.float32)

    upper = (1 - u) * at(top, left) + u * at(top, right)
    lower = (1 - u) * at(bottom, left) + u * at(bottom, right)
    out = ((1 - v) * upper + v * lower).astype(image.dtype)
    # Without the barrier XLA repeats the gathers for each reader: a rotation before a flip took x2.
    return jax.lax.optimization_barrier(out)


def nearest(mask: jax.Array, y: jax.Array, x: jax.Array, *, padding_mode: Padding, fill: int) -> jax.Array:
    """Return the values (...) of a mask (H, W) at the pixels in which the rows y and columns x lie."""
    mask, y, x = _inside(mask, y, x, padding_mode, fill)
    row, column = jnp.floor(y + 0.5).astype(jnp.int32), jnp.floor(x + 0.5).astype(jnp.int32)
    return mask.at[row, column].get(mode="promise_in_bounds")


def _inside(
    array: jax.Array, y: jax.Array, x: jax.Array, padding_mode: Padding, fill: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return an array and the rows and columns inside it that show what y and x see of `array` (H, W, ...)."""
    if padding_mode == "constant":
        array = jnp.pad(array, ((1, 1), (1, 1), *((0, 0),) * (array.ndim - 2)), constant_values=fill)
        y, x = y + 1, x + 1
    return array, _folded(y, array.shape[0], padding_mode), _folded(x, array.shape[1], padding_mode)


def _folded(position: jax.Array, size: int, padding_mode: Padding) -> jax.Array:
    if padding_mode == "reflect" and size > 1:
        position = jnp.abs(position) % (2 * (size - 1))
        position = jnp.minimum(position, 2 * (size - 1) - position)
    return jnp.clip(position, 0, size - 1)
