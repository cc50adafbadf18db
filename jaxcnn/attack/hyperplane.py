"""The decision boundary of a net as if it were linear: the plane that is nearest to an image, and the way onto it."""

import jax
import jax.numpy as jnp

from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, margin, per_image
from jaxcnn.attack.norms import size
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import over_variants

__all__ = ["DUAL", "nearest_plane", "onto_plane"]

DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
"""|<w, d>| is at most the one norm of d times the other of w."""

ROUNDS = 64  # far more than it takes: each adds values that have met a bound, most of them at once


def nearest_plane(
    logits_fn: LogitsFn, image: jax.Array, goal: Goal, others: jax.Array, clear: jax.Array, norm: str, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Return the linear model of the nearest boundary: how far the goal is passed (...), and the slope of that.

    Of z_k - z_y over the other classes k, or of a target's distance to its best rival, the one with the least
    |f| / ||grad f||_q, q dual to the norm.

    Args:
        logits_fn: images -> logits.
        image: images (..., H, W, C).
        goal: what is wanted.
        others: classes (k, ...) that are looked at, if the goal is no target.
        clear: by how much (...) the goal is to be reached: it is passed at twice that.
        norm: "linf", "l2" or "l1".
        chunk: gradients at once.
    """

    def passed(image: jax.Array) -> jax.Array:
        found = logits(logits_fn, image)
        if goal.target is not None:
            return -margin(found, goal)[None]
        take = lambda at: jnp.take_along_axis(found, at[..., None], -1)[..., 0]  # noqa: E731
        return jax.vmap(take)(others) - take(goal.label)

    values, pullback = jax.vjp(passed, image)
    one = lambda k: pullback(jnp.zeros_like(values).at[k].set(1))[0]  # noqa: E731
    slopes = over_variants(one, jnp.arange(len(values)), chunk).astype(values.dtype)
    slopes = jnp.where(jnp.isfinite(slopes), slopes, 0)
    values = values - 2 * clear
    lengths = jax.vmap(lambda slope: size(slope, DUAL[norm], image_axes(image, goal)))(slopes)
    nearest = jnp.argmin(jnp.abs(values) / jnp.maximum(lengths, 1e-12), 0)[None]
    slope = jnp.take_along_axis(slopes, per_image(nearest, slopes), 0)[0]
    return jnp.take_along_axis(values, nearest, 0)[0], slope


def onto_plane(
    image: jax.Array, slope: jax.Array, rise: jax.Array, norm: str, bounds: Bounds, axes: tuple[int, ...]
) -> jax.Array:
    """Return the shortest step d within the bounds for which <slope, d> = rise; the farthest where none is far enough.

    With a = |slope|, room m up to the bound and s = a (l2) or 1 (linf), |d| = min(l s, m) with sum a |d| = |rise|.
    In l1 the values with the largest slopes go to their bounds, one after the other.

    Args:
        image: where the step begins, (..., H, W, C), float32 or wider.
        slope: of the plane, of the same shape.
        rise: (...), one number an image.
        norm: "linf", "l2" or "l1".
        bounds: the least and the largest value of a pixel.
        axes: those of one image.

    Source: Croce & Hein 2020 (Minimally distorted adversarial examples with a fast adaptive boundary attack), equation
    6; the same solution as AutoAttack's projections.
    """
    low, high = bounds
    slope = slope * per_image(jnp.sign(rise), slope)
    room = jnp.where(slope > 0, high - image, image - low)
    # In units of the largest slope, so that nothing overflows.
    largest = jnp.max(jnp.abs(slope), axes, keepdims=True)
    weight = jnp.abs(slope) / jnp.where(largest > 0, largest, 1)
    need = per_image(jnp.abs(rise), slope) / jnp.where(largest > 0, largest, 1)
    if norm == "l1":
        length = _greedy(weight, room, need, axes)
    else:
        pace = weight if norm == "l2" else jnp.ones_like(weight)
        length = jnp.minimum(_level(weight, pace, room, need, axes) * pace, room)
    return jnp.sign(slope) * length


def _level(weight: jax.Array, pace: jax.Array, room: jax.Array, need: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the least l >= 0 for which sum weight min(l pace, room) >= need, or one for which all are at their bound.

    The sum is concave in l, and linear between the places where a value meets its bound: Newton's method rises to the
    solution without passing it, and ends there.
    """

    def rise(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        count, level, _ = state
        full = level * pace >= room
        held = jnp.sum(jnp.where(full, weight * room, 0), axes, keepdims=True)
        speed = jnp.sum(jnp.where(full, 0, weight * pace), axes, keepdims=True)
        new = jnp.maximum(level, jnp.where(speed > 0, (need - held) / jnp.where(speed > 0, speed, 1), level))
        return count + 1, new, jnp.any(new > level * (1 + 1e-6))

    going = lambda state: (state[0] < ROUNDS) & state[2]  # noqa: E731
    return jax.lax.while_loop(going, rise, (0, jnp.zeros_like(need), jnp.array(True)))[1]


def _greedy(weight: jax.Array, room: jax.Array, need: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the lengths with sum weight length = need that have the least sum."""
    flat = lambda a: a.reshape(*a.shape[: axes[0]], -1)  # noqa: E731
    order = jnp.argsort(flat(-weight), -1)
    weights, rooms = (jnp.take_along_axis(flat(a), order, -1) for a in (weight, room))
    before = jnp.cumsum(weights * rooms, -1) - weights * rooms
    lengths = jnp.clip((flat(need) - before) / jnp.maximum(weights, 1e-30), 0, rooms)
    return jnp.take_along_axis(lengths, jnp.argsort(order, -1), -1).reshape(weight.shape)
