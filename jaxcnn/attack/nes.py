"""NES: projected gradient ascent on gradients that are estimated from outputs at random places around the image."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.attack.best import Best, Radius, better, looked_at, over_radii, radii
from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, per_image
from jaxcnn.attack.norms import expect_norm, project, steepest
from jaxcnn.attack.objective import Objective, objective
from jaxcnn.attack.pgd import REACH
from jaxcnn.checking import expect_count, expect_flag, expect_key, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of, total_over_variants

__all__ = ["nes"]


def nes(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    epsilon: Any,
    norm: str = "linf",
    steps: int = 100,
    pairs: int = 25,
    sigma: float = 0.001,
    step_size: Any = None,
    loss: str | Objective = "cross_entropy",
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
    return_queries: bool = False,
) -> Any:
    """Return images in the ball after ascent along estimated gradients.

    g = 1 / (2 n sigma) sum_i (L(x' + sigma u_i) - L(x' - sigma u_i)) u_i,   u_i normal,
    x' <- project(x' + a s),   s = sign(g) in "linf" and g / ||g|| in "l2".

    An image costs 1 query and 2 pairs + 1 for each step that it takes: it is left alone as soon as its goal is
    reached. In queries the net sees values that leave the bounds by about sigma.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        epsilon: the radius in units of the pixels, or an array (E...) of several.
        norm: "linf" or "l2".
        steps: at most.
        pairs: n, for each step.
        sigma: how far around, in units of the pixels.
        step_size: a, in units of the pixels, one for all or an array that broadcasts to epsilon; 2.5 epsilon / steps
            unless given.
        loss: the objective: "cross_entropy", "margin", "dlr" (of 3 classes at least, with a
            target 4) or a function.
        target: the classes that are wanted instead, one for all or one each; None for any but y.
        bounds: the least and the largest value of a pixel.
        chunk: pairs at once: memory for 2 chunk times x. As many as are fast unless given.
        return_queries: return how often the net was asked, too.

    Returns:
        Adversarial images (E..., ..., H, W, C): with the goal reached, else the largest objective that was met. With
        `return_queries`, these and the queries of each image, int32 (E..., ...).

    Raises:
        ValueError: images out of bounds, epsilon below 0 or for "linf" beyond the width of the bounds, an unknown norm
            or loss, sigma or a step not above 0.
        TypeError: x is not floating, no key.

    Source: Ilyas, Engstrom, Athalye, Lin 2018, section 3 and algorithm 1.
    """
    where = "nes"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm, ("linf", "l2"))
    steps, pairs = expect_count(where, "steps", steps), expect_count(where, "pairs", pairs)
    sigma = scalar(where, "sigma above 0", sigma, lambda s: s > 0, "It has the unit of the pixels.")
    radius = radii(where, epsilon, step_size, steps, REACH, norm, bounds)
    return_queries = expect_flag(where, "return_queries", return_queries)
    loss = objective(where, loss, logits_fn, x, target)
    options = {"norm": norm, "steps": steps, "pairs": pairs, "loss": loss, "bounds": bounds}
    found, asked = _run(key, logits_fn, x, goal, radius, sigma, **options, chunk=chunk_of(where, chunk, x))
    return (found, asked) if return_queries else found


class _State(NamedTuple):
    step: jax.Array
    image: jax.Array  # where the ascent is
    best: Best
    queries: jax.Array


@functools.partial(jax.jit, static_argnames=("norm", "steps", "pairs", "loss", "bounds", "chunk"))
def _run(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    radii: Radius,
    sigma: Any,
    *,
    norm: str,
    steps: int,
    pairs: int,
    loss: Objective,
    bounds: Bounds,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    axes = image_axes(x, goal)

    def gradient(key: jax.Array, image: jax.Array) -> jax.Array:
        def along(key: jax.Array) -> jax.Array:
            direction = jax.random.normal(key, x.shape)
            step = (sigma * direction).astype(x.dtype)
            forwards, backwards = (loss(logits(logits_fn, image + way), goal) for way in (step, -step))
            return per_image(forwards - backwards, x) * direction

        return total_over_variants(along, jax.random.split(key, pairs), chunk) / (2 * pairs * sigma)

    def attempt(radius: Radius) -> tuple[jax.Array, jax.Array]:
        def ascend(state: _State) -> _State:
            left = state.best.reached
            slope = gradient(jax.random.fold_in(key, state.step), state.image)
            moved = state.image + (radius.step * steepest(slope, norm, axes)).astype(x.dtype)
            moved = project(moved, x, radius.epsilon, norm, bounds, axes)
            image = jnp.where(per_image(left, x), state.image, moved)
            best = better(state.best, looked_at(logits_fn, image, goal, loss))
            return _State(state.step + 1, image, best, state.queries + jnp.where(left, 0, 2 * pairs + 1))

        first = _State(jnp.zeros((), jnp.int32), x, looked_at(logits_fn, x, goal, loss), jnp.ones_like(goal.label))
        goes_on = lambda state: (state.step < steps) & ~state.best.reached.all()  # noqa: E731
        last = jax.lax.while_loop(goes_on, ascend, first)
        return last.best.image, last.queries

    return over_radii(attempt, radii, 1)
