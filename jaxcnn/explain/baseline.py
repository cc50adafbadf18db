"""What stands in the place of pixels that are taken away."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import array, expect, expect_choice, shown

__all__ = ["baseline_of", "blurred"]


def baseline_of(where: str, baseline: Any, x: jax.Array) -> jax.Array:
    """Return what stands in the place of removed pixels, of x's shape: a number, an array, or "blur"."""
    what = 'baseline as a number, an array that fits x, or "blur"'
    if isinstance(baseline, str):
        expect_choice(where, what, baseline, ("blur",))
        return blurred(x)
    given = array(where, "baseline", baseline)
    ends = x.shape[x.ndim - given.ndim :] if given.ndim <= x.ndim else None
    ok = ends is not None and all(g in (1, n) for g, n in zip(given.shape, ends, strict=True))
    expect(ok, where, what, shown(given), f"x is of shape {x.shape}.")
    return jnp.broadcast_to(given.astype(x.dtype), x.shape)


@jax.jit
def blurred(x: jax.Array) -> jax.Array:
    """Return the images (..., H, W, C) as a Gaussian with the deviation of an eighth of the longer side leaves them."""
    height, width = x.shape[-3:-1]
    rows, columns = (_smoothing(side, max(height, width) / 8).astype(x.dtype) for side in (height, width))
    return jnp.einsum("hi,...ijc,wj->...hwc", rows, x, columns)


def _smoothing(size: int, deviation: float) -> jax.Array:
    """Return the matrix of the blur along one axis, in which what lies outside of the image does not count."""
    apart = jnp.arange(size)[:, None] - jnp.arange(size)
    weights = jnp.exp(-(apart**2) / (2 * deviation**2))
    return weights / weights.sum(axis=1, keepdims=True)
