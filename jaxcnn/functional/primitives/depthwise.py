"""Every channel has taps of its own: weighted sums of shifted images, fused into one loop."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.functional.primitives.dense import dense_input_gradient
from jaxcnn.functional.primitives.geometry import Forms, Geometry
from jaxcnn.functional.primitives.parts import summed_parts
from jaxcnn.functional.primitives.taps import padded, taps
from jaxcnn.functional.spread import along_channels

__all__ = ["DEPTHWISE"]


def _meetings(x: jax.Array, geometry: Geometry) -> Iterator[jax.Array]:
    """Return what `taps` yields: pixels (N, *positions, features) in float32."""
    x = jnp.repeat(x, geometry.features // geometry.channels, axis=-1).astype(_wide(x))
    return taps(padded(x, geometry.padding), geometry.window, geometry.stride, geometry.dilation)


def _wide(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


def _convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    kernel = kernel.reshape(*geometry.window, geometry.features).astype(_wide(x))
    meetings = zip(itertools.product(*map(range, geometry.window)), _meetings(x, geometry), strict=True)
    y = functools.reduce(jnp.add, (pixels * along_channels(kernel[tap], pixels) for tap, pixels in meetings))
    return y.astype(x.dtype)


def _input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    def convolve(g: jax.Array, kernel: jax.Array, part: Geometry) -> jax.Array:
        part = part._replace(features=part.channels, groups=part.channels)  # every feature by a kernel of its own,
        y = _convolve(g, kernel, part)
        many = geometry.features // geometry.channels
        return y if many == 1 else jnp.sum(y.reshape(*y.shape[:-1], -1, many), axis=-1)  # then a channel's together

    return dense_input_gradient(g, kernel, geometry, convolve)


def _kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    def run(x: jax.Array, g: jax.Array) -> jax.Array:
        g = g.astype(_wide(g))
        pixels = tuple(range(1, g.ndim - 1))
        return jnp.stack([jnp.sum(seen * g, pixels) for seen in _meetings(x, geometry)])

    # A few images at a time: the products, one for each tap, stay in the cache.
    sums = summed_parts(run, (lax.optimization_barrier(x), lax.optimization_barrier(g)), images=8)
    return jnp.sum(sums, 1).reshape(geometry.kernel).astype(x.dtype)


DEPTHWISE = Forms(_convolve, _input_gradient, _kernel_gradient)
