"""Correlation of the last axes of two arrays, of their values or of their ranks."""

import jax
import jax.numpy as jnp

__all__ = ["pearson", "spearman"]


def pearson(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the correlation along the last axis, (...), in [-1, 1]; 0 where one of the two does not vary."""
    a, b = (v - v.mean(axis=-1, keepdims=True) for v in (a, b))
    power = (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
    return (a * b).sum(axis=-1) / jnp.sqrt(jnp.where(power > 0, power, 1))


def spearman(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the correlation of the ranks along the last axis, (...); equal values share the mean of their ranks.

    Source: agrees with `scipy.stats.spearmanr`.
    """
    return pearson(_ranks(a), _ranks(b))


def _ranks(values: jax.Array) -> jax.Array:
    """Return the ranks as fractions of the number of values, so that their squares stay small."""

    def of_one(values: jax.Array) -> jax.Array:
        rising = jnp.sort(values)
        below, up_to = (jnp.searchsorted(rising, values, side=side) for side in ("left", "right"))
        return (below + up_to) / (2 * values.size)

    return jax.vmap(of_one)(values.reshape(-1, values.shape[-1])).reshape(values.shape)
