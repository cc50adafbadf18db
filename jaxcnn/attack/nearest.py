"""The points of balls that are nearest to others, of distances from the centre that have bounds of their own.

The nearest point lies on the same side of the centre in every value, so that all is about lengths >= 0: how far to go
is `length`, how far the bounds let go `room`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["NEAREST", "bisected"]

HALVINGS = 26  # of an interval: its floats lie no nearer to one another
ROUNDS = 8  # that find which values the bounds cut off
TINY = 1e-30

Axes = tuple[int, ...]


def nearest_l2(length: jax.Array, room: jax.Array, epsilon: jax.Array, axes: Axes) -> jax.Array:
    """Return min(s d, room) for the s <= 1 at which it is epsilon long.

    Where too few values count as cut off, s comes out too small: no round leaves the ball, each is nearer to its edge.
    """

    def longer(_: Any, share: jax.Array) -> jax.Array:
        cut = share * length >= room
        free = jnp.sum(jnp.where(cut, 0, length * length), axes, keepdims=True)
        left = jnp.maximum(epsilon * epsilon - jnp.sum(jnp.where(cut, room * room, 0), axes, keepdims=True), 0)
        return jnp.minimum(1, jnp.sqrt(left / jnp.maximum(free, TINY)))

    share = jax.lax.fori_loop(0, ROUNDS, longer, jnp.zeros_like(jnp.sum(length, axes, keepdims=True)))
    return jnp.minimum(share * length, room)


def nearest_l1(length: jax.Array, room: jax.Array, epsilon: jax.Array, axes: Axes) -> jax.Array:
    """Return d - t between 0 and room, for the t >= 0 at which the sum is epsilon: it falls with t, piece by piece."""

    def total(less: jax.Array) -> jax.Array:
        return jnp.sum(jnp.clip(length - less, 0, room), axes, keepdims=True)

    most = jnp.max(length, axes, keepdims=True)
    below, above = bisected(lambda less: total(less) <= epsilon, jnp.zeros_like(most), most)
    over, under = total(below) - epsilon, epsilon - total(above)
    less = below + (above - below) * jnp.clip(over / jnp.maximum(over + under, TINY), 0, 1)
    found = jnp.clip(length - less, 0, room)
    return found * jnp.minimum(1, epsilon / jnp.maximum(jnp.sum(found, axes, keepdims=True), TINY))


def nearest_l0(length: jax.Array, room: jax.Array, epsilon: jax.Array, axes: Axes) -> jax.Array:
    """Return min(d, room) of the floor(epsilon) values that bring it nearest to d, else 0; of equals the first."""
    found = jnp.minimum(length, room)
    gain = (found * (2 * length - found)).reshape(*length.shape[: axes[0]], -1)
    rank = jnp.argsort(jnp.argsort(-gain, axis=-1), axis=-1).reshape(length.shape)  # the sorts are stable
    return jnp.where(rank < jnp.floor(epsilon), found, 0)


NEAREST: dict[str, Callable[[jax.Array, jax.Array, jax.Array, Axes], jax.Array]] = {
    "l2": nearest_l2,
    "l1": nearest_l1,
    "l0": nearest_l0,
}


def bisected(holds: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return intervals, halved again and again, at whose end something `holds` that does not at their begin."""

    def halve(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        middle = (ends[0] + ends[1]) / 2
        there = holds(middle)
        return jnp.where(there, ends[0], middle), jnp.where(there, middle, ends[1])

    return jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
