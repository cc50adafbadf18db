"""The best image that an attack has met, over its steps, its starts and its radii."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.given import broadcasts, epsilons, expect_finite, is_trusted
from jaxcnn.attack.goal import Bounds, Goal, logits, per_image, reached
from jaxcnn.attack.objective import Objective
from jaxcnn.checking import expect, is_number, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import over_variants

__all__ = ["Best", "Radius", "best_of", "better", "image_of", "looked_at", "met", "over_radii", "over_starts", "radii"]


class Radius(NamedTuple):
    """How far an attack may go, and how far one of its steps goes; a pytree of float32, both of one shape."""

    epsilon: jax.Array
    step: jax.Array


class Best(NamedTuple):
    """For each image one of its ball that reaches the goal, if any was met, and of those the highest objective."""

    image: jax.Array  # (..., H, W, C)
    value: jax.Array  # (...), its objective
    reached: jax.Array  # (...), bool
    finite: jax.Array  # (), bool: whether all gradients on the way were


def radii(where: str, epsilon: Any, step_size: Any, steps: int, reach: float, norm: str, bounds: Bounds) -> Radius:
    """Return radii and steps; raise `ValueError` unless they are some, of shapes that fit.

    Args:
        where: the attack.
        epsilon, norm, bounds: as for `given.epsilons`.
        step_size: one for all radii or an array that broadcasts to theirs; None for reach * epsilon / steps.
        steps: of the attack.
        reach: how far all steps together go, as a multiple of epsilon.
    """
    most = epsilons(where, epsilon, norm, bounds)
    if step_size is None:
        return Radius(most, reach * most / steps)
    fix = f"Leave it out for {reach:g} * epsilon / steps."
    ok = is_number(step_size) or hasattr(step_size, "dtype")
    expect(ok, where, "step_size as a number or an array", shown(step_size), fix)
    size = jnp.asarray(step_size, jnp.float32)
    fits = broadcasts(size.shape, most.shape)
    expect(fits, where, f"step_size of shape () or {most.shape}, as epsilon", size.shape, fix)
    if not isinstance(size, jax.core.Tracer):
        expect(bool((size > 0).all()), where, "step_size above 0", shown(step_size), fix)
    return Radius(most, jnp.broadcast_to(size, most.shape))


def met(image: jax.Array, found: jax.Array, values: jax.Array, goal: Goal, slope: jax.Array | None = None) -> Best:
    """Return images that an attack met, with their logits (..., classes), objective (...) and its gradient."""
    finite = jnp.array(True) if slope is None else jnp.isfinite(slope).all()
    return Best(image, jnp.where(jnp.isnan(values), -jnp.inf, values), reached(found, goal), finite)


def looked_at(logits_fn: LogitsFn, image: jax.Array, goal: Goal, loss: Objective) -> Best:
    """Return images that an attack met, without a gradient."""
    found = logits(logits_fn, image)
    return met(image, found, loss(found, goal), goal)


def better(a: Best, b: Best) -> Best:
    """Return the better of two for each image; of equals the first."""
    take = (b.reached & ~a.reached) | ((b.reached == a.reached) & (b.value > a.value))
    return Best(
        jnp.where(per_image(take, a.image), b.image, a.image),
        jnp.where(take, b.value, a.value).astype(a.value.dtype),  # what a loop carries keeps its type
        a.reached | b.reached,
        a.finite & b.finite,
    )


def best_of(several: Best) -> Best:
    """Return the best along the leading axis."""
    fallen = several.reached.any(0)
    least = jnp.finfo(several.value.dtype).min  # above what does not count
    at = jnp.where(several.reached == fallen, jnp.maximum(several.value, least), -jnp.inf).argmax(0)[None]
    take = lambda leaf: jnp.take_along_axis(leaf, per_image(at, leaf), 0)[0]  # noqa: E731
    return Best(take(several.image), take(several.value), fallen, several.finite.all(0))


def image_of(where: str, logits_fn: jax.tree_util.Partial, best: Best) -> jax.Array:
    """Return the images; raise `ValueError` where gradients on the way to them are known not to be finite."""
    if not is_trusted(logits_fn):
        expect_finite(where, best.finite)
    return best.image


def over_radii(attempt: Callable[[Any], Any], radii: Any, chunk: int) -> Any:
    """Return what an attempt gives with each radius, whose axes the result has in front; `chunk` at once.

    Args:
        attempt: a radius -> a tree of arrays, such as the best image of an attempt, which never leaves that ball.
        radii: arrays of one shape, any: epsilons or a `Radius`.
        chunk: attempts at once.
    """
    shape = jax.tree.leaves(radii)[0].shape
    found = over_variants(attempt, jax.tree.map(jnp.ravel, radii), chunk)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), found)


def over_starts(attempt: Callable[[jax.Array, Radius], Best], keys: jax.Array, radii: Radius, chunk: int) -> Best:
    """Return the best of several attempts with each radius, whose axes the result has in front; `chunk` at once.

    Args:
        attempt: key, radius -> the best image of an attempt, which never leaves that ball.
        keys: one for each attempt. All radii have its draws: one alone gives what it gives among others.
        radii: of any shape.
        chunk: attempts at once.
    """
    some = min(chunk, radii.epsilon.size)

    def each(key: jax.Array) -> Best:
        return over_radii(lambda radius: attempt(jax.random.clone(key), radius), radii, some)

    return best_of(over_variants(each, keys, max(1, chunk // some)))
