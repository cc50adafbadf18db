"""Sizes of perturbations, and the balls that they are to stay in."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.goal import Bounds, per_image
from jaxcnn.checking import expect_choice

__all__ = ["NORMS", "expect_norm", "project", "size"]

NORMS = ("linf", "l2", "l1", "l0")


def expect_norm(where: str, norm: Any, norms: tuple[str, ...] = NORMS) -> None:
    """Raise `ValueError` unless `norm` is one that the attack knows."""
    expect_choice(where, f"norm as one of {norms}", norm, norms)


def size(delta: jax.Array, norm: str, axes: tuple[int, ...]) -> jax.Array:
    """Return the norm (...) of each image's perturbation, in float32; "l0" counts the values that change.

    Args:
        delta: perturbations (..., H, W, C).
        norm: "linf" max |d|; "l2" (sum d^2)^(1/2); "l1" sum |d|; "l0" the number of d that are not 0.
        axes: those of one image, `goal.image_axes`.
    """
    delta = delta.astype(jnp.promote_types(delta.dtype, jnp.float32))
    if norm == "linf":
        return jnp.max(jnp.abs(delta), axes)
    if norm == "l2":
        return jnp.sqrt(jnp.sum(delta * delta, axes))
    if norm == "l1":
        return jnp.sum(jnp.abs(delta), axes)
    return jnp.sum(delta != 0, axes).astype(delta.dtype)


def project(
    moved: jax.Array, x: jax.Array, epsilon: jax.Array, norm: str, bounds: Bounds, axes: tuple[int, ...]
) -> jax.Array:
    """Return the images in the ball around x and in the bounds that are near `moved`.

    Args:
        moved: images (..., H, W, C).
        x: the centres, within the bounds.
        epsilon: the radius, one for all or one an image (...).
        norm: "linf", "l2", "l1" or "l0".
        bounds: the least and the largest value of a pixel.
        axes: those of one image.
    """
    epsilon = per_image(jnp.broadcast_to(epsilon, x.shape[: axes[0]]), x).astype(x.dtype)
    low, high = bounds
    if norm == "linf":
        return jnp.clip(moved, jnp.maximum(x - epsilon, low), jnp.minimum(x + epsilon, high))
    if norm == "l2":
        delta = jnp.clip(moved, low, high) - x
        long = per_image(size(delta, "l2", axes), x)
        return jnp.clip(x + delta * jnp.minimum(1, epsilon / jnp.maximum(long, 1e-12)).astype(x.dtype), low, high)
    raise NotImplementedError(norm)
