"""Blends of an image with another that lacks something of it: less of it, or more."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.options import interval
from jaxcnn.checking import expect

__all__ = ["blend", "factors"]


def blend(image: jax.Array, other: jax.Array | float, factor: jax.Array | float) -> jax.Array:
    """Return clip(f x + (1 - f) other, 0, 1) in the dtype of the image x, computed in float32.

    At f = 0 it is `other`, at 1 the image, bit for bit, and beyond 1 it lies on the other side of the image.
    """
    # Not other + f (x - other), which rounds at f = 1.
    return jnp.clip(factor * image.astype(jnp.float32) + (1 - factor) * other, 0, 1).astype(image.dtype)


def factors(where: str, factor: tuple[float, float]) -> tuple[float, float]:
    """Return the interval (low, high) of a blend's factor, checked to be at least 0."""
    low, high = interval(where, "factor", factor)
    expect(low >= 0, where, "factor of at least 0", (low, high), "Pass (low, high), 1 being the image as it is.")
    return low, high
