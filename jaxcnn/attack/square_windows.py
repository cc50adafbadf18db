"""The windows of the Square attack, and how those in the L2 and L1 balls take over what is left or spent elsewhere."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.goal import Bounds, wide
from jaxcnn.attack.norms import towards

__all__ = ["Hills", "corner", "hills", "inside", "moved_mass", "scaled_to", "tiles"]

TINY = 1e-12


class Hills(NamedTuple):
    """What is known of hills beforehand: sum_{d < k <= side / 2 + 1} k^-e at distance d (Chebyshev's) from the top."""

    steps: jax.Array  # (n,), sum_{k <= n} k^-e
    sizes: jax.Array  # (side + 1, 2), of the upper and the lower half of such a window: it has size 1 when divided


def hills(sides: Iterable[int], largest: int, power: int) -> Hills:
    """Return the hills for windows of these sides: e is 2 and sizes are Euclidean for power 2, 4 and sums for 1.

    The larger e, the more of it is at its top.
    """
    steps = np.concatenate([[0.0], np.cumsum(np.arange(1, largest // 2 + 2.0) ** -(2 if power == 2 else 4))])
    sizes = np.ones((largest + 1, 2))
    for side in sides:
        half, columns = side // 2, np.abs(np.arange(side) - side // 2)
        for lower, rows in enumerate((half, side - half)):
            away = np.maximum(np.abs(np.arange(rows) - rows // 2)[:, None], columns)
            mass = ((steps[half + 1] - steps[away]) ** power).sum()
            sizes[side, lower] = (mass * (2 if half else 1)) ** (1 / power) or 1
    return Hills(jnp.asarray(steps, jnp.float32), jnp.asarray(sizes, jnp.float32))


def corner(key: jax.Array, side: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return where (...) windows of that side begin in images of that shape (H, W), all places as likely."""
    where = jax.random.uniform(key, (2, *side.shape))
    top, left = (jnp.floor(u * (n - side + 1)).astype(jnp.int32) for u, n in zip(where, shape, strict=True))
    return top, left


def inside(top: jax.Array, left: jax.Array, side: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return which pixels (..., H, W, 1) lie in the windows."""
    rows, columns = _places(top, left, shape)
    side = side[..., None]
    return (((rows >= 0) & (rows < side))[..., None] & ((columns >= 0) & (columns < side))[..., None, :])[..., None]


def tiles(key: jax.Array, x: jax.Array, side: int, hills: Hills, power: int) -> jax.Array:
    """Return perturbations (..., H, W, C) of windows side by side, each of size 1, turned and signed at random."""
    height, width, channels = x.shape[-3:]
    grid = height // side, width // side
    turn_key, sign_key = jax.random.split(key)
    turned = jax.random.bernoulli(turn_key, shape=(*x.shape[:-3], *grid))
    sign = jax.random.rademacher(sign_key, (*turned.shape, 1, 1, channels), jnp.float32)
    start, sides = jnp.zeros_like(turned, jnp.int32), jnp.full_like(turned, side, jnp.int32)
    each = sign * _eta(start, start, sides, turned, (side, side), hills, power)[..., None]
    flat = jnp.moveaxis(each, -3, -4).reshape(*x.shape[:-3], grid[0] * side, grid[1] * side, channels)
    spare = height - grid[0] * side, width - grid[1] * side
    around = [(0, 0)] * (x.ndim - 3) + [(n // 2, n - n // 2) for n in spare] + [(0, 0)]
    return jnp.pad(flat, around)


def moved_mass(
    key: jax.Array,
    x: jax.Array,
    image: jax.Array,
    side: jax.Array,
    epsilon: jax.Array,
    hills: Hills,
    power: int,
    bounds: Bounds,
) -> jax.Array:
    """Return images to which one window of the perturbation adds a hill, paid for by another window and what is left.

    Source: Andriushchenko et al. 2020, algorithm 3, for each channel on its own.
    """
    shape, channels = x.shape[-3:-1], x.shape[-1]
    gain_key, loss_key, turn_key, sign_key = jax.random.split(key, 4)
    here = corner(gain_key, side, shape)
    gains, loses = inside(*here, side, shape), inside(*corner(loss_key, side, shape), side, shape)
    turned = jax.random.bernoulli(turn_key, shape=side.shape)
    sign = jax.random.rademacher(sign_key, (*side.shape, 1, 1, channels), jnp.float32)

    delta = wide(image) - wide(x)
    old = jnp.where(gains, delta, 0)
    new = old / (_size(_mass(old, power), power) + TINY)
    new = new + sign * _eta(*here, side, turned, shape, hills, power)[..., None]
    left = jnp.maximum(epsilon**power - _mass(delta, power).sum(-1, keepdims=True), 0) / channels
    budget = _size(left + _mass(jnp.where(gains | loses, delta, 0), power), power)
    new = new * (budget / (_size(_mass(new, power), power) + TINY))
    return scaled_to(epsilon, x, jnp.where(gains, new, jnp.where(loses, 0, delta)), power, bounds)


def scaled_to(epsilon: jax.Array, x: jax.Array, delta: jax.Array, power: int, bounds: Bounds) -> jax.Array:
    """Return the images at that distance from x, or less where the bounds take some of it."""
    size = _size(_mass(delta, power).sum(-1, keepdims=True), power)
    return towards(x, jnp.clip(wide(x) + delta * (epsilon / (size + TINY)), *bounds))


def _mass(delta: jax.Array, power: int) -> jax.Array:
    """Return sum |d|^power of each channel (..., 1, 1, C)."""
    return jnp.sum(delta * delta if power == 2 else jnp.abs(delta), (-3, -2), keepdims=True)


def _size(mass: jax.Array, power: int) -> jax.Array:
    return jnp.sqrt(mass) if power == 2 else mass


def _places(top: jax.Array, left: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return rows (..., H) and columns (..., W) counted from the window's corner."""
    return jnp.arange(shape[0]) - top[..., None], jnp.arange(shape[1]) - left[..., None]


def _eta(
    top: jax.Array,
    left: jax.Array,
    side: jax.Array,
    turned: jax.Array,
    shape: tuple[int, ...],
    hills: Hills,
    power: int,
) -> jax.Array:
    """Return maps (..., H, W) of size 1: in the upper half of the window a hill, in the lower one a valley; or beside.

    A hill falls with the larger of the distances along both axes, so it is the less of what falls with either.
    """
    rows, columns = _places(top, left, shape)
    side, turned = side[..., None], turned[..., None]
    (up, sign_up), (across, sign_across) = (
        _profile(place, side, split, hills) for place, split in ((rows, ~turned), (columns, turned))
    )
    sign = sign_up[..., None] * sign_across[..., None, :]
    return sign * jnp.minimum(up[..., None], across[..., None, :])


def _profile(place: jax.Array, side: jax.Array, split: jax.Array, hills: Hills) -> tuple[jax.Array, jax.Array]:
    """Return how high hills are along one axis, and the sign of each half, divided by its size, where it is split."""
    half = side // 2
    lower = split & (place >= half)
    begin = jnp.where(lower, half, 0)
    extent = jnp.where(split, jnp.where(lower, side - half, half), side)
    away = jnp.abs(place - begin - extent // 2)
    top = half + 1
    height = hills.steps[top] - hills.steps[jnp.minimum(away, top)]
    height = jnp.where((place >= 0) & (place < side), height, 0)
    size = hills.sizes[side, lower.astype(jnp.int32)]
    return height, jnp.where(split, jnp.where(lower, -1, 1) / size, 1)
