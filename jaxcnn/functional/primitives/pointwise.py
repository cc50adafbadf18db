"""A window of one pixel, without padding: the gradients are matrix products."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.functional.primitives.geometry import Forms, Geometry
from jaxcnn.functional.primitives.library import library

__all__ = ["POINTWISE"]


def _input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    matrix = kernel.reshape(geometry.channels, geometry.features)
    y = jnp.dot(g, matrix.T, precision=geometry.precision)
    axes = zip(geometry.size, geometry.stride, geometry.positions, strict=True)
    gaps = [(0, n - (m - 1) * s - 1, s - 1) for n, s, m in axes]
    return lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *gaps, (0, 0, 0)]) if any(map(any, gaps)) else y


def _kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    x, g = lax.optimization_barrier(x), lax.optimization_barrier(g)
    x = x[(slice(None), *(slice(None, None, s) for s in geometry.stride))]
    pixels = tuple(range(g.ndim - 1))
    y = lax.dot_general(x, g, ((pixels, pixels), ((), ())), precision=geometry.precision)
    return y.reshape(geometry.kernel)


POINTWISE = Forms(library, _input_gradient, _kernel_gradient, sequential=True)
