"""Windows as large as the image or larger: a matrix from all pixels to all positions.

For a window larger than the image XLA on CPU has naive loops alone; one as large as the image is a dense layer.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.functional.primitives.dense import dense_kernel_gradient
from jaxcnn.functional.primitives.geometry import Forms, Geometry

__all__ = ["WHOLE", "fits"]


def fits(geometry: Geometry) -> bool:
    """Return whether the window is as large as the image, which is not padded."""
    return geometry.window == geometry.size and not any(map(any, geometry.padding))


def _matrix(kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Return (pixels * channels, positions * features): the tap with which a pixel meets a position, or 0."""
    if fits(geometry):
        return kernel.reshape(-1, geometry.features)
    tap, met = np.zeros((1, 1), np.int32), np.ones((1, 1), bool)
    axes = (geometry.size, geometry.window, geometry.stride, geometry.padding, geometry.dilation, geometry.positions)
    for size, window, stride, (before, _), dilation, positions in zip(*axes, strict=True):
        distance = np.arange(size)[:, None] + before - stride * np.arange(positions)
        reached = (distance >= 0) & (distance < window * dilation) & (distance % dilation == 0)
        shape = len(tap) * size, tap.shape[1] * positions
        tap = (tap[:, None, :, None] * window + distance[None, :, None, :] // dilation).reshape(shape)
        met = (met[:, None, :, None] & reached[None, :, None, :]).reshape(shape)
    inner = kernel.shape[-2:]
    taps_and_none = jnp.concatenate([kernel.reshape(-1, *inner), jnp.zeros((1, *inner), kernel.dtype)])
    met_by = taps_and_none[np.where(met, tap, len(taps_and_none) - 1)]
    pixels, positions, channels, features = met_by.shape
    return met_by.swapaxes(1, 2).reshape(pixels * channels, positions * features)


def _convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    y = jnp.dot(x.reshape(len(x), -1), _matrix(kernel, geometry), precision=geometry.precision)
    return y.reshape(len(x), *geometry.positions, geometry.features)


def _input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    x = jnp.dot(g.reshape(len(g), -1), _matrix(kernel, geometry).T, precision=geometry.precision)
    return x.reshape(len(g), *geometry.size, geometry.channels)


def _kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    if not fits(geometry):
        return dense_kernel_gradient(x, g, geometry)
    y = jnp.dot(x.reshape(len(x), -1).T, g.reshape(len(g), -1), precision=geometry.precision)
    return y.reshape(geometry.kernel)


WHOLE = Forms(_convolve, _input_gradient, _kernel_gradient, sequential=True)
