"""The smallest adversarial images that a search has met, each clearly beyond the decision boundary."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.goal import Goal, image_axes, margin, per_image, reached
from jaxcnn.attack.norms import size

__all__ = ["Smallest", "clearly_reached", "none_but", "slack", "smaller"]

ROUNDINGS = 16  # by as many units in the last place of the largest logit two programs of one net may differ


class Smallest(NamedTuple):
    """What has been found for each image; a pytree."""

    image: jax.Array  # of x's shape and dtype
    size: jax.Array  # (...), in the norm of the search; infinity where nothing was found


def slack(logits: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return by how much (...) the logits of an image of that dtype may differ from one program to another."""
    largest = jnp.max(jnp.abs(jnp.where(jnp.isfinite(logits), logits, 0)), -1)
    return ROUNDINGS * jnp.finfo(dtype).eps * largest


def clearly_reached(logits: jax.Array, goal: Goal, clear: jax.Array) -> jax.Array:
    """Return for which images (...) the goal is reached by more than `clear` (...), so that a second look agrees.

    That is the slack of the original images: on the boundary itself all logits may be small.
    """
    return reached(logits, goal) & (margin(logits, goal) < -clear)


def none_but(x: jax.Array, hit: jax.Array) -> Smallest:
    """Return what is known before a search: the images themselves, where the goal is reached already (...)."""
    kind = jnp.promote_types(x.dtype, jnp.float32)
    return Smallest(x, jnp.where(hit, 0, jnp.inf).astype(kind))


def smaller(best: Smallest, x: jax.Array, image: jax.Array, hit: jax.Array, norm: str, goal: Goal) -> Smallest:
    """Return the smallest after one more image each, which may be adversarial (...) or not."""
    found = size(image - x, norm, image_axes(x, goal))
    better = hit & (found < best.size)
    return Smallest(jnp.where(per_image(better, x), image, best.image), jnp.where(better, found, best.size))
