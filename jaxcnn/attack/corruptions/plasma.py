"""Clouds: a random field that looks alike at every scale."""

import jax
import jax.numpy as jnp

__all__ = ["plasma"]


def plasma(key: jax.Array, frame: tuple[int, int], decay: float) -> jax.Array:
    """Return a cloud (H, W) in [0, 1], by midpoint displacement: diamonds and squares.

    On a grid with wrapped edges whose spacing is halved again and again, each new point is the mean of its four
    neighbours and a number uniform on [-1, 1] times decay^(-2 l) in the l-th round. The whole field, a power of two
    wide, reaches from 0 to 1; what is returned is its upper left corner.

    Args:
        key: a typed key.
        frame: (H, W).
        decay: above 1; the larger, the smoother.

    Source: Fournier, Fussell, Carpenter 1982; the form of it that Hendrycks and Dietterich 2019 use for fog.
    """
    rounds = max(1, (max(frame) - 1).bit_length())
    corner, reach = jnp.zeros((1, 1)), 1.0
    for key_of_round in jax.random.split(key, rounds):
        n = len(corner)
        draw = reach * jax.random.uniform(key_of_round, (3, n, n), minval=-1.0)
        down, right = jnp.roll(corner, -1, 0), jnp.roll(corner, -1, 1)
        centre = (corner + down + right + jnp.roll(down, -1, 1)) / 4 + draw[0]
        beside = (corner + right + centre + jnp.roll(centre, 1, 0)) / 4 + draw[1]
        below = (corner + down + centre + jnp.roll(centre, 1, 1)) / 4 + draw[2]
        rows = jnp.stack([jnp.stack([corner, beside], -1), jnp.stack([below, centre], -1)], 1)
        corner, reach = rows.reshape(2 * n, 2 * n), reach / decay**2
    low, high = corner.min(), corner.max()
    return ((corner - low) / (high - low))[: frame[0], : frame[1]]
