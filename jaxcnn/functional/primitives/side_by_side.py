"""Convolutions from few channels to few features: neighbouring positions side by side, as more features.

XLA on CPU spends 40 to 100 ns at every position of a convolution that has no more than 16 of both, whatever is computed
there, and little at those of wider ones. So m positions along the last axis become one, whose window covers what all
of them see and holds the kernel m times, each time one stride further: feature (j, f) at i is feature f at m i + j.
What lies beside the kernels is multiplied by zero, which costs less.
"""

import math

import jax
import jax.numpy as jnp

from jaxcnn.functional.primitives.geometry import Geometry

__all__ = ["copies", "repeated"]

NARROW = 16  # channels and features, up to which a position costs so much
ENOUGH, MOST = 20, 64  # features that are to be made of them
WORTH = 2000  # multiplications by zero, which take as long as a position costs


def copies(geometry: Geometry) -> int:
    """Return m, how many positions are to be one; 1 where it does not pay."""
    features, positions, stride = geometry.features, geometry.positions[-1], geometry.stride[-1]
    if max(geometry.channels, features) > NARROW or geometry.dilation[-1] > 1:
        return 1
    least, most = -(-ENOUGH // features), -(-MOST // features)
    dividing = (m for m in range(least, most + 1) if positions % m == 0)  # nothing is to be cut off then
    zeros = math.prod(geometry.window[:-1]) * geometry.channels * features * stride  # of each copy after the first
    for m in (next(dividing, least), least):
        if (min(m, positions) - 1) * zeros < WORTH:
            return min(m, positions)
    return 1


def repeated(kernel: jax.Array, geometry: Geometry, m: int) -> tuple[jax.Array, Geometry]:
    """Return the kernel with m copies of itself, (..., w + (m - 1) s, C, m O), and its geometry, for m above 1."""
    stride, (before, _) = geometry.stride[-1], geometry.padding[-1]
    reach = (m - 1) * stride
    others = [(0, 0)] * (kernel.ndim - 3)
    moved = [jnp.pad(kernel, [*others, (j * stride, reach - j * stride), (0, 0), (0, 0)]) for j in range(m)]
    window, blocks = geometry.window[-1] + reach, -(-geometry.positions[-1] // m)
    after = (blocks - 1) * m * stride + window - geometry.size[-1] - before
    return jnp.concatenate(moved, -1), geometry._replace(
        window=(*geometry.window[:-1], window),
        stride=(*geometry.stride[:-1], m * stride),
        padding=(*geometry.padding[:-1], (before, after)),
        features=m * geometry.features,
    )
