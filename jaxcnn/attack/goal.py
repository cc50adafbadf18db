"""What an attack wants: images that a net takes for another class, or for a chosen one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.classifier import LogitsFn, logits_of

__all__ = ["Bounds", "Goal", "image_axes", "logits", "margin", "parted", "per_image", "reached", "rivals", "wide"]

Bounds = tuple[float, float]
"""The least and the largest value of a pixel."""


class Goal(NamedTuple):
    """What the attack wants of each image; a pytree."""

    label: jax.Array  # (...), the true classes
    target: jax.Array | None = None  # (...), the classes that are wanted; None for any but the true ones

    @property
    def focus(self) -> jax.Array:
        """The classes (...) that it is about: the wanted ones, or the true ones that are to be lost."""
        return self.label if self.target is None else self.target

    def of(self, index: Any) -> "Goal":
        """Return the goal of some of the images."""
        return jax.tree.map(lambda leaf: leaf[index], self)


def logits(logits_fn: LogitsFn, x: jax.Array) -> jax.Array:
    """Return the logits (..., classes), of a net with further heads too, in float32 or wider."""
    return wide(logits_of(logits_fn(x)))


def reached(logits: jax.Array, goal: Goal) -> jax.Array:
    """Return for which images (...) the goal is reached: the one definition of success. NaN never is one."""
    found = logits.argmax(-1)
    ok = found != goal.label if goal.target is None else found == goal.target
    return ok & ~jnp.isnan(logits).any(-1)


def parted(logits: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the logits (...) of a class each, and all (..., classes) with -inf in the place of those."""
    own = jax.nn.one_hot(label, logits.shape[-1], dtype=bool)
    return jnp.sum(jnp.where(own, logits, 0), -1), jnp.where(own, -jnp.inf, logits)


def margin(logits: jax.Array, goal: Goal) -> jax.Array:
    """Return by how much (...) the goal is missed: what is to win minus the best other; below 0 it is reached."""
    held, others = parted(logits, goal.focus)
    ahead = held - others.max(-1)
    return ahead if goal.target is None else -ahead


def rivals(logits: jax.Array, goal: Goal, count: int) -> jax.Array:
    """Return the classes beside the true one with the largest logits, (count, ...), or all where there are fewer."""
    _, others = parted(logits, goal.label)
    return jnp.moveaxis(jax.lax.top_k(others, min(count, logits.shape[-1] - 1))[1], -1, 0)


def image_axes(x: jax.Array, goal: Goal) -> tuple[int, ...]:
    """Return the axes of x that are one image's."""
    return tuple(range(goal.label.ndim, x.ndim))


def per_image(values: jax.Array, x: jax.Array) -> jax.Array:
    """Return one value an image (...) with axes for its pixels: (..., 1, 1, 1)."""
    return values.reshape(*values.shape, *(1,) * (x.ndim - values.ndim))


def wide(array: jax.Array) -> jax.Array:
    """Return an array in float32 or wider."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
