"""Descents on the size of what is adversarial: fast minimum-norm (FMN), decoupled direction and norm (DDN)."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, per_image, wide
from jaxcnn.attack.hyperplane import DUAL
from jaxcnn.attack.norms import NORMS, expect_norm, farthest, project, size, steepest
from jaxcnn.attack.objective import Objective, climbing, cross_entropy, negative_margin
from jaxcnn.attack.smallest import Smallest, clearly_reached, none_but, slack, smaller
from jaxcnn.checking import expect_count, expect_key, scalar
from jaxcnn.classifier import LogitsFn

__all__ = ["ddn", "fmn"]


def fmn(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    norm: str = "l2",
    steps: int = 100,
    restarts: int = 1,
    step_size: float = 1.0,
    gamma: float = 0.05,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return the smallest adversarial images that steps in a ball meet whose radius follows the boundary.

    x_i+1 = P(x_i + a_i g / ||g||_2), g the gradient of the margin by which the net errs, P the projection onto the ball
    of radius e_i. Until something adversarial is found e is the distance to the boundary of the net's linear model;
    then it shrinks by 1 - gamma_i where x_i is adversarial and grows by 1 + gamma_i where it is not. Both a_i and
    gamma_i fall along a cosine, to a hundredth and to 0.001.

    Args:
        key: a PRNG key, for where the restarts begin.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        norm: "linf", "l2", "l1" or "l0", in which the result is small.
        steps: gradients of each restart.
        restarts: the first begins at x, the others at random within half of what has been found.
        step_size: the first, as a fraction of the width of the bounds.
        gamma: the first, between 0 and 1.
        target: the classes that are wanted instead, or None for any other.
        bounds: the least and the largest value of a pixel.

    Returns:
        Adversarial images of x's shape, by more than rounding over the boundary; x itself where none was found, and
        where the net errs without help.

    Raises:
        ValueError: another norm, an option out of range, images out of bounds, classes that are none.
        TypeError: x is not floating, no key.

    Source: Pintor et al. 2021, algorithm 1; agrees with `foolbox.attacks.LInfFMNAttack`, `L1FMNAttack` and
    `L0FMNAttack`. (foolbox's `L2FMNAttack` does not project.)
    """
    where = "fmn"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm, NORMS)
    step_size, gamma = _step_size(where, step_size), _gamma(where, gamma)
    counts = {"steps": expect_count(where, "steps", steps), "restarts": expect_count(where, "restarts", restarts)}
    return _fmn(key, logits_fn, x, goal, step_size, gamma, norm=norm, bounds=bounds, **counts)


def ddn(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    steps: int = 100,
    step_size: float = 1.0,
    gamma: float = 0.05,
    initial_epsilon: float = 1.0,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return the adversarial images of least L2 norm that steps on a sphere meet whose radius follows the boundary.

    d_i+1 = e_i u / ||u||_2,   u = d_i + a_i g / ||g||_2,   g the gradient of the cross-entropy. The radius e shrinks
    by 1 - gamma where x + d_i is adversarial and grows by 1 + gamma where it is not; a_i falls along a cosine, to a
    hundredth.

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        steps: gradients.
        step_size: the first, as a fraction of the width of the bounds.
        gamma: between 0 and 1: how finely the radius is found.
        initial_epsilon: the first radius, as a fraction of the width of the bounds, above 0.
        target: the classes that are wanted instead, or None for any other.
        bounds: the least and the largest value of a pixel.

    Returns:
        Adversarial images of x's shape, by more than rounding over the boundary; x itself where none was found, and
        where the net errs without help.

    Raises:
        ValueError: an option out of range, images out of bounds, classes that are none.
        TypeError: x is not floating.

    Source: Rony et al. 2019, algorithm 1, without rounding to 256 levels; agrees with `foolbox.attacks.DDNAttack`.
    """
    where = "ddn"
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    step_size, gamma = _step_size(where, step_size), _gamma(where, gamma)
    fix = "Pass initial_epsilon=1.0, say."
    initial = scalar(where, "initial_epsilon > 0", initial_epsilon, lambda a: a > 0, fix)
    return _ddn(logits_fn, x, goal, step_size, gamma, initial, steps=expect_count(where, "steps", steps), bounds=bounds)


class _Now(NamedTuple):
    """An image on the way, and what decides about the next radius."""

    image: jax.Array
    epsilon: jax.Array  # (...), the radius
    hit: jax.Array  # (...), whether the image is adversarial
    best: Smallest
    gap: jax.Array  # (...), how far the loss is from what is clearly beyond 0
    slope: jax.Array  # the gradient of the loss
    annealed: jax.Array  # from 1 to 0


@functools.partial(jax.jit, static_argnames=("norm", "steps", "restarts", "bounds"))
def _fmn(
    key, logits_fn, x: jax.Array, goal: Goal, step_size, gamma, *, norm: str, steps: int, restarts: int, bounds: Bounds
) -> jax.Array:
    axes, center = image_axes(x, goal), wide(x)
    most = farthest(x, norm, bounds, axes)

    def radius(now: _Now) -> jax.Array:
        rate = 0.001 + (gamma - 0.001) * now.annealed
        smaller, larger = now.epsilon * (1 - rate), now.epsilon * (1 + rate)
        if norm == "l0":
            smaller = jnp.maximum(1, jnp.minimum(now.epsilon - 1, jnp.floor(smaller)))
            larger = jnp.maximum(now.epsilon + 1, jnp.floor(larger))
        else:
            boundary = now.gap / jnp.maximum(size(now.slope, DUAL[norm], axes), 1e-12)
            known = jnp.isfinite(now.best.size)
            larger = jnp.where(known, larger, size(now.image - x, norm, axes) + boundary)
        return jnp.minimum(jnp.where(now.hit, jnp.minimum(smaller, now.best.size), larger), most)

    def place(moved: jax.Array, epsilon: jax.Array) -> jax.Array:
        return project(moved, center, epsilon, norm, bounds, axes)

    before, clear = _before(logits_fn, x, goal)
    search = _search(logits_fn, x, goal, clear, step_size, negative_margin, radius, place, norm, steps, bounds)

    def restart(best: Smallest, at: tuple[jax.Array, jax.Array]) -> tuple[Smallest, None]:
        key, first = at
        known = jnp.minimum(best.size, most)
        start = place(jax.random.uniform(key, x.shape, center.dtype, *bounds), known / 2)
        epsilon = jnp.where(first, 1, known) if norm == "l0" else known
        return search(jnp.where(first, center, start), epsilon, best), None

    keys, first = jax.random.split(key, restarts), jnp.arange(restarts) == 0
    return jax.lax.scan(restart, before, (keys, first))[0].image


@functools.partial(jax.jit, static_argnames=("steps", "bounds"))
def _ddn(logits_fn, x: jax.Array, goal: Goal, step_size, gamma, initial, *, steps: int, bounds: Bounds) -> jax.Array:
    axes, center = image_axes(x, goal), wide(x)
    most = farthest(x, "l2", bounds, axes)

    def radius(now: _Now) -> jax.Array:
        return jnp.minimum(now.epsilon * jnp.where(now.hit, 1 - gamma, 1 + gamma), most)

    def place(moved: jax.Array, epsilon: jax.Array) -> jax.Array:
        delta = moved - center
        length = jnp.maximum(size(delta, "l2", axes), 1e-12)
        return jnp.clip(center + delta * per_image(epsilon / length, x), *bounds)

    epsilon = jnp.minimum(initial * (bounds[1] - bounds[0]), most)
    before, clear = _before(logits_fn, x, goal)
    search = _search(logits_fn, x, goal, clear, step_size, cross_entropy, radius, place, "l2", steps, bounds)
    return search(center, epsilon, before).image


def _search(
    logits_fn,
    x: jax.Array,
    goal: Goal,
    clear: jax.Array,
    step_size,
    loss: Objective,
    radius: Callable[[_Now], jax.Array],
    place: Callable[[jax.Array, jax.Array], jax.Array],
    norm: str,
    steps: int,
    bounds: Bounds,
) -> Callable[[jax.Array, jax.Array, Smallest], Smallest]:
    """Return the descent: where it begins, the first radius, the smallest so far -> the smallest."""
    axes, width = image_axes(x, goal), bounds[1] - bounds[0]

    def step(count: jax.Array, state: tuple[jax.Array, jax.Array, Smallest]):
        point, epsilon, best = state
        image = point.astype(x.dtype)
        found, value, slope = climbing(logits_fn, image, goal, loss)
        slope = jnp.where(jnp.isfinite(slope), slope, 0).astype(point.dtype)
        hit = clearly_reached(found, goal, clear)
        best = smaller(best, x, image, hit, norm, goal)
        annealed = (1 + jnp.cos(jnp.pi * count / steps)) / 2
        gap = jnp.abs(value) + 2 * clear
        epsilon = radius(_Now(image, epsilon, hit, best, gap, slope, annealed))
        pace = step_size * width * (0.01 + 0.99 * annealed)
        return place(point + pace * steepest(slope, "l2", axes), epsilon), epsilon, best

    return lambda point, epsilon, best: jax.lax.fori_loop(0, steps, step, (point, epsilon, best))[2]


def _before(logits_fn, x: jax.Array, goal: Goal) -> tuple[Smallest, jax.Array]:
    """Return what is known of the images themselves, and by how much the goal is to be reached."""
    found = logits(logits_fn, x)
    clear = slack(found, x.dtype)
    return none_but(x, clearly_reached(found, goal, clear)), clear


def _step_size(where: str, step_size: Any) -> Any:
    return scalar(where, "step_size > 0", step_size, lambda a: a > 0, "It is a fraction of the width of the bounds.")


def _gamma(where: str, gamma: Any) -> Any:
    return scalar(where, "gamma between 0 and 1", gamma, lambda a: 0 < a < 1, "Pass gamma=0.05, say.")
