"""Directions: vectors of length 1, and the cosines between them."""

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating
from jaxcnn.layers import register

__all__ = ["cosine_similarity", "unit_length"]

SHORTEST = 1e-8  # length that a shorter vector is divided by, as PyTorch's


@register
def unit_length(x: jax.Array) -> jax.Array:
    """Return vectors in the same directions, of length 1: x / max(|x|, 1e-8).

    As a function of an array it is a layer too, the last one of a net whose outputs are compared.

    Args:
        x: (..., D), floating.

    Returns:
        Of x's shape and dtype, computed in float32. Its gradient is finite everywhere.

    Raises:
        ValueError: an x without axes.
        TypeError: an x that is not floating.

    Source: agrees with `torch.nn.functional.normalize(eps=1e-8)`.
    """
    x = floating("unit_length", "x", x)
    expect(x.ndim >= 1, "unit_length", "x (..., D)", x.shape, "Pass vectors.")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    squared = jnp.sum(jnp.square(wide), -1, keepdims=True)
    return (wide * jax.lax.rsqrt(jnp.maximum(squared, SHORTEST**2))).astype(x.dtype)


def cosine_similarity(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the cosine of the angle between each x and each y: x_n . y_m / (|x_n| |y_m|).

    Args:
        x: (..., N, D), floating.
        y: (..., M, D), floating, with the leading axes of x.

    Returns:
        (..., N, M) float32, in [-1, 1] but for rounding; 0 for a vector of zeros.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: an x or y that is not floating.

    Source: agrees with `torch.nn.functional.cosine_similarity` and `sklearn.metrics.pairwise.cosine_similarity`.
    """
    where = "cosine_similarity"
    x, y = floating(where, "x", x), floating(where, "y", y)
    ok = x.ndim == y.ndim >= 2 and x.shape[:-2] == y.shape[:-2] and x.shape[-1] == y.shape[-1]
    expect(ok, where, "x (..., N, D) and y (..., M, D)", f"{x.shape} and {y.shape}", "Give both one leading shape.")
    x, y = (unit_length(each.astype(jnp.promote_types(each.dtype, jnp.float32))) for each in (x, y))
    return jnp.einsum("...nd,...md->...nm", x, y, precision=jax.lax.Precision.HIGHEST)
