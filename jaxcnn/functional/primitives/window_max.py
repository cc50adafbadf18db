"""The maximum over windows, with a gradient that goes to the first maximum on every platform.

The maximum is that of `jax.lax` everywhere, its gradient on GPU and TPU too. On CPU that gradient, a scatter, is 7 to
10 times slower than comparing strided slices of the image, which XLA fuses into one loop.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.functional.primitives.taps import padded, taps, tiles

__all__ = ["overtakes", "window_max"]

Pads = tuple[tuple[int, int], ...]
_MANY = 9  # more slices than this are taken axis by axis: k + l of them and not k l


def window_max(x: jax.Array, size: tuple[int, ...], stride: tuple[int, ...], pads: Pads) -> jax.Array:
    """Return the maximum of each window, (N, H', W', C); padding never wins, NaN always does.

    Args:
        x: images (N, H, W, C).
        size: pixels of the window.
        stride: pixels between windows.
        pads: pixels (before, after) on each axis.
    """
    plain = functools.partial(_reduced, size=size, stride=stride, pads=pads)
    if max(size) > 2 * _MANY or x.size == 0:
        return plain(x)
    return lax.platform_dependent(x, cpu=functools.partial(_sliced, size=size, stride=stride, pads=pads), default=plain)


def _reduced(x: jax.Array, size, stride, pads) -> jax.Array:
    lowest = np.asarray(-jnp.inf, x.dtype)  # a constant: a traced start would hide the monoid and its gradient
    return lax.reduce_window(x, lowest, lax.max, (1, *size, 1), (1, *stride, 1), ((0, 0), *pads, (0, 0)))


def _sliced(x: jax.Array, size, stride, pads) -> jax.Array:
    # Rows of the window last: the first maximum in its row, then the first row, is the first in row-major order.
    if size[0] * size[1] > _MANY and min(size) > 1:
        x = _first_max(x, (1, size[1]), (1, stride[1]), ((0, 0), pads[1]))
        size, stride, pads = (size[0], 1), (stride[0], 1), (pads[0], (0, 0))
    return _first_max(x, size, stride, pads)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _first_max(x: jax.Array, size, stride, pads) -> jax.Array:
    return _reduced(x, size, stride, pads)


@_first_max.defjvp
def _first_max_jvp(size, stride, pads, primals, tangents):
    slices = taps(padded(primals[0], pads, -jnp.inf), size, stride)
    best = next(slices)
    place = jnp.zeros(best.shape, jnp.int8)
    for number, pixels in enumerate(slices, start=1):
        later = overtakes(pixels, best)
        place = jnp.where(later, jnp.int8(number), place)
        best = jnp.where(later, pixels, best)  # `jnp.maximum` would share a further derivative among equal pixels
    return best, _taken(tangents[0], place, size, stride, pads)


def _taken(x: jax.Array, place: jax.Array, size, stride, pads) -> jax.Array:
    """Return the pixel of each window at its `place`: linear in x, and transposed by JAX."""
    if size != stride:
        slices = enumerate(taps(padded(x, pads), size, stride))
        return functools.reduce(jnp.add, (jnp.where(place == number, pixels, 0) for number, pixels in slices))
    # Windows that tile the image: each pixel compares its number with its window's.
    x, (height, width) = tiles(x, size, pads), size
    number = np.arange(height * width, dtype=np.int8).reshape(1, 1, height, 1, width, 1)
    return jnp.sum(jnp.where(place[:, :, None, :, None] == number, x, 0), axis=(2, 4))


def overtakes(later: jax.Array, best: jax.Array) -> jax.Array:
    """Return where a later pixel of the window is its maximum so far: where it is larger, or not a number."""
    return (later > best) | jnp.isnan(later)
