"""Correlation of the last axes of two arrays, of their values or of their ranks."""

import jax
import jax.numpy as jnp

__all__ = ["pearson", "spearman"]


def pearson(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the correlation along the last axis, (...), in [-1, 1]; 0 where one of the two does not vary.

    What varies by less than rounding does counts as not varying: 4 units in the last place of the largest, and
    4 sqrt(n) of float32, in which halves are summed up. NaN where a value is not finite.
    """
    a, b = _centred(a), _centred(b)
    power = (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
    return (a * b).sum(axis=-1) / jnp.sqrt(jnp.where(power > 0, power, 1))


def _centred(v: jax.Array) -> jax.Array:
    """Return the values less their mean, the largest of them 1 or all 0, so that no square over- or underflows."""
    given, v = v.dtype, v.astype(jnp.promote_types(v.dtype, jnp.float32))
    most = jnp.abs(v).max(axis=-1, keepdims=True)
    centred = v - v.mean(axis=-1, keepdims=True)
    reach = jnp.abs(centred).max(axis=-1, keepdims=True)
    rounding = 4 * max(jnp.finfo(given).eps, v.shape[-1] ** 0.5 * jnp.finfo(v.dtype).eps)
    still = reach <= rounding * most
    return jnp.where(still, 0, centred / jnp.where(still, 1, reach))


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
