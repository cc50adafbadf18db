"""Sizes of perturbations, the balls that they are to stay in, and the ways that lead farthest in those."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.goal import Bounds, per_image, wide
from jaxcnn.attack.nearest import NEAREST, bisected
from jaxcnn.checking import expect_choice

__all__ = [
    "BALLS",
    "NORMS",
    "ascended",
    "expect_norm",
    "farthest",
    "linf_ends",
    "project",
    "random_start",
    "scaled",
    "size",
    "steepest",
    "towards",
]

BALLS = ("linf", "l2", "l1")
"""Those in which gradients point somewhere."""
NORMS = (*BALLS, "l0")
FAR = 1e3  # times the range of the pixels: a step after which the ball's nearest point is the farthest along it
TINY = 1e-30


def expect_norm(where: str, norm: Any, norms: tuple[str, ...] = BALLS) -> None:
    """Raise `ValueError` unless `norm` is one that the attack knows."""
    expect_choice(where, f"norm as one of {norms}", norm, norms)


def size(delta: jax.Array, norm: str, axes: tuple[int, ...]) -> jax.Array:
    """Return the norm (...) of each image's perturbation, in float32; "l0" counts the values that change.

    Args:
        delta: perturbations (..., H, W, C).
        norm: "linf" max |d|; "l2" (sum d^2)^(1/2); "l1" sum |d|; "l0" the number of d that are not 0.
        axes: those of one image, `goal.image_axes`.
    """
    delta = wide(delta)
    if norm == "linf":
        return jnp.max(jnp.abs(delta), axes)
    if norm == "l2":
        return jnp.sqrt(jnp.sum(delta * delta, axes))
    if norm == "l1":
        return jnp.sum(jnp.abs(delta), axes)
    return jnp.sum(delta != 0, axes).astype(delta.dtype)


def farthest(x: jax.Array, norm: str, bounds: Bounds, axes: tuple[int, ...]) -> jax.Array:
    """Return how far (...) the corner of the bounds is that is farthest from each image."""
    return size(jnp.maximum(wide(x) - bounds[0], bounds[1] - wide(x)), norm, axes)


def towards(x: jax.Array, values: jax.Array) -> jax.Array:
    """Return values in x's dtype, where they are none of it the next ones nearer to x: rounding leaves no ball.

    Args:
        x: the centres (..., H, W, C).
        values: images (..., H, W, C), in x's dtype or a wider one.
    """
    if values.dtype == x.dtype:
        return values
    # Without the barrier XLA may leave out to narrow and to widen again, and all would seem exact.
    nearest = jax.lax.optimization_barrier(values.astype(x.dtype))
    beyond = jnp.abs(wide(nearest) - wide(x)) > jnp.abs(values - wide(x))
    return jnp.where(beyond, jnp.nextafter(nearest, x), nearest)


def linf_ends(x: jax.Array, epsilon: jax.Array, bounds: Bounds) -> tuple[jax.Array, jax.Array]:
    """Return the least and the largest images, of x's dtype, that are in the ball of "linf" and within the bounds.

    max(x - epsilon, low), min(x + epsilon, high), rounded towards x: in bfloat16 the nearest value to an end may lie
    beyond it by a good part of epsilon.

    Args:
        x: the centres (..., H, W, C), within the bounds.
        epsilon: the radius, of a shape that broadcasts to x's.
        bounds: the least and the largest value of a pixel.
    """
    center, (low, high) = wide(x), bounds
    return towards(x, jnp.maximum(center - epsilon, low)), towards(x, jnp.minimum(center + epsilon, high))


def project(
    moved: jax.Array, x: jax.Array, epsilon: jax.Array, norm: str, bounds: Bounds, axes: tuple[int, ...]
) -> jax.Array:
    """Return the images nearest to `moved`, by Euclid, that are in the ball around x and within the bounds.

    Args:
        moved: images (..., H, W, C).
        x: the centres, within the bounds.
        epsilon: the radius, one for all or one an image (...); of "l0" how many values may change.
        norm: "linf", "l2", "l1" or "l0".
        bounds: the least and the largest value of a pixel.
        axes: those of one image.

    Source: Croce & Hein 2021, "Mind the box", proposition 2.1, for "l1"; the same conditions of optimality for "l2".
    """
    low, high = bounds
    epsilon = per_image(jnp.broadcast_to(epsilon, x.shape[: axes[0]]), x)
    if norm == "linf":
        return jnp.clip(moved.astype(x.dtype), *linf_ends(x, epsilon, bounds))
    center, moved = wide(x), wide(moved)
    length = jnp.abs(moved - center)
    room = jnp.where(moved > center, high - center, center - low)
    found = center + jnp.sign(moved - center) * NEAREST[norm](length, room, epsilon, axes)
    return towards(x, jnp.clip(found, low, high))


def scaled(gradient: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return gradients whose largest value is 1, in float32, so that no square of theirs is 0; NaN and inf become 0."""
    gradient = wide(gradient)
    gradient = jnp.where(jnp.isfinite(gradient), gradient, 0)
    largest = jnp.max(jnp.abs(gradient), axes, keepdims=True)
    return gradient / jnp.where(largest > 0, largest, 1)


def steepest(gradient: jax.Array, norm: str, axes: tuple[int, ...], sparsity: Any = 0.01) -> jax.Array:
    """Return the steps of size 1 along which a function with these gradients rises most; 0 where they are 0 or NaN.

    "linf" sign(g); "l2" g / ||g||; "l1" sign(g) / k on the k values whose |g| is largest, one alone being the steepest.

    Args:
        gradient: (..., H, W, C).
        norm: "linf", "l2" or "l1".
        axes: those of one image.
        sparsity: k as a fraction of the values of an image, rounded up; one for all or one an image (...).

    Source: Tramer & Boneh 2019, section 2 (SLIDE), for "l1".
    """
    if norm == "linf":
        return jnp.sign(jnp.where(jnp.isfinite(gradient), gradient, 0))
    slope = scaled(gradient, axes)
    if norm == "l2":
        step = slope / jnp.maximum(per_image(size(slope, "l2", axes), slope), TINY)
    else:
        count = jnp.broadcast_to(sparsity, gradient.shape[: axes[0]]) * math.prod(gradient.shape[a] for a in axes)
        kept = _largest(jnp.abs(slope), jnp.maximum(1, jnp.ceil(count)), axes)
        step = jnp.where(kept, jnp.sign(slope), 0)
        step = step / jnp.maximum(1, per_image(size(step, "l1", axes), step))
    return step.astype(gradient.dtype)


def ascended(
    gradient: jax.Array, x: jax.Array, epsilon: jax.Array, norm: str, bounds: Bounds, axes: tuple[int, ...]
) -> jax.Array:
    """Return the images in the ball around x and within the bounds at which sum(gradient * image) is the largest.

    Args:
        gradient: (..., H, W, C); where it is 0 or not finite, nothing changes.
        x, epsilon, norm, bounds, axes: as for `project`; "linf", "l2" or "l1".
    """
    direction = jnp.sign(scaled(gradient, axes)) if norm == "linf" else scaled(gradient, axes)
    reach = FAR * (bounds[1] - bounds[0])
    return project(wide(x) + reach * direction, x, epsilon, norm, bounds, axes)


def random_start(
    key: jax.Array, x: jax.Array, epsilon: jax.Array, norm: str, bounds: Bounds, axes: tuple[int, ...]
) -> jax.Array:
    """Return images drawn evenly from the ball around x, each value cut off at the bounds.

    Args:
        key: a PRNG key.
        x, epsilon, norm, bounds, axes: as for `project`; "linf", "l2" or "l1".
    """
    epsilon = per_image(jnp.broadcast_to(epsilon, x.shape[: axes[0]]), x)
    drawn = wide(x) + epsilon * _drawn(key, x, norm, axes)
    return towards(x, jnp.clip(drawn, *bounds))


def _drawn(key: jax.Array, x: jax.Array, norm: str, axes: tuple[int, ...]) -> jax.Array:
    """Return perturbations drawn evenly from the ball of radius 1, float32."""
    if norm == "linf":
        return jax.random.uniform(key, x.shape, minval=-1.0, maxval=1.0)
    way, length = jax.random.split(key)
    rows = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    if norm == "l2":
        drawn = jax.random.normal(way, x.shape)
        shrunk = jax.random.uniform(length, rows) ** (1 / math.prod(x.shape[axis] for axis in axes))
        return drawn * shrunk / per_image(size(drawn, "l2", axes), x)
    # Of n + 1 exponential draws the shares of n are even in the simplex; a Laplace one has its sign with it.
    drawn = jax.random.laplace(way, x.shape)
    return drawn / (per_image(size(drawn, "l1", axes), x) + jax.random.exponential(length, rows))


def _largest(values: jax.Array, count: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return which of an image's values in [0, 1] are its `count` (...) largest, and those that equal the last."""
    count = per_image(count, values)
    start = jnp.zeros_like(jnp.max(values, axes, keepdims=True))
    below, _ = bisected(lambda least: jnp.sum(values >= least, axes, keepdims=True) < count, start, start + 1)
    return values >= below
