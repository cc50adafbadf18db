"""3x3 convolutions with 2.25 times fewer multiplications: Winograd's minimal filtering, F(2x2, 3x3).

Four pixels of a map come from 16 of the image: both are transformed by sums and differences alone, and in between the
channels meet in 16 matrix products instead of 36. Rounding errors are about three times those of the
sum of products, and an infinite pixel makes NaN of its whole tile.

Source: Lavin and Gray 2016 (Fast algorithms for convolutional neural networks), section 4.1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.functional.primitives.dense import dense_input_gradient
from jaxcnn.functional.primitives.geometry import Forms, Geometry
from jaxcnn.functional.primitives.parts import joined_parts, summed_parts
from jaxcnn.functional.primitives.taps import padded, taps_along

__all__ = ["WINOGRAD", "winograd"]

_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # G of the paper
_KERNELS = np.kron(_KERNEL, _KERNEL)  # (16, 9): of both axes at once
_FLOATS = 2**21  # of the transformed images at a time, so that they stay in the cache


def winograd(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the maps of a `Geometry` with a 3x3 window, no stride, no dilation and one group."""
    height, width = geometry.positions
    kernel = (jnp.asarray(_KERNELS, x.dtype) @ kernel.reshape(9, -1)).reshape(16, *kernel.shape[2:])

    def run(x: jax.Array) -> jax.Array:
        products = jnp.einsum("tpc,tco->tpo", _image_tiles(x, geometry), kernel)
        y = products.reshape(4, 4, x.shape[0], -(-height // 2), -(-width // 2), geometry.features)
        y = jnp.stack(_outputs(*y), 3)  # (horizontal terms, N, tiles, 2, tiles, O)
        y = jnp.stack(_outputs(*y), 4)  # (N, tiles, 2, tiles, 2, O)
        y = y.reshape(x.shape[0], 2 * y.shape[1], 2 * y.shape[3], geometry.features)
        return y[:, :height, :width]

    return joined_parts(run, x, _images(geometry))


def _kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the gradient of the kernel: the transpose of `winograd` in it, without the transforms in between."""

    def run(x: jax.Array, g: jax.Array) -> jax.Array:
        g = padded(g, [(0, n % 2) for n in g.shape[1:3]])
        g = jnp.stack(_spread(g[:, ::2], g[:, 1::2]))  # (vertical terms, N, tiles, W, O)
        g = jnp.stack(_spread(g[..., ::2, :], g[..., 1::2, :]), 1)
        return jnp.einsum("tpc,tpo->tco", _image_tiles(x, geometry), g.reshape(16, -1, g.shape[-1]))

    kernels = summed_parts(run, (lax.optimization_barrier(x), lax.optimization_barrier(g)), _images(geometry))
    return (jnp.asarray(_KERNELS.T, x.dtype) @ kernels.reshape(16, -1)).reshape(geometry.kernel)


def _input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    return dense_input_gradient(g, kernel, geometry, winograd)


def _images(geometry: Geometry) -> int:
    transformed = 4 * geometry.size[0] * geometry.size[1] * max(geometry.channels, geometry.features)
    return max(1, _FLOATS // transformed)


def _image_tiles(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the 16 terms of every tile, (16, tiles, C); tiles are 4x4 pixels, two apart."""
    axes = zip(geometry.positions, geometry.padding, x.shape[1:3], strict=True)
    x = padded(x, [(before, 2 * (-(-m // 2)) + 2 - n - before) for m, (before, _), n in axes])
    x = jnp.stack(_inputs(*taps_along(x, -3, 4, 2)))  # (vertical terms, N, tiles, W, C)
    x = jnp.stack(_inputs(*taps_along(x, -2, 4, 2)), 1)
    return x.reshape(16, -1, x.shape[-1])


def _inputs(a, b, c, d):  # transposed B of the paper
    return a - c, b + c, c - b, b - d


def _outputs(a, b, c, d):  # transposed A
    return a + b + c, b - c - d


def _spread(a, b):  # A
    return a, a + b, a - b, -b


WINOGRAD = Forms(winograd, _input_gradient, _kernel_gradient, sequential=True)
