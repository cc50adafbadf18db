"""Carlini and Wagner's attack: the L2 norm and the loss of a class, weighed for each image."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, margin, per_image, wide
from jaxcnn.attack.smallest import Smallest, clearly_reached, none_but, slack, smaller
from jaxcnn.checking import expect_count, scalar
from jaxcnn.classifier import LogitsFn

__all__ = ["carlini_wagner"]

SATURATION = 0.999  # of tanh at a bound: nearer to 1 pixels hardly move, as their gradients vanish


def carlini_wagner(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    binary_steps: int = 9,
    steps: int = 1000,
    learning_rate: float = 0.01,
    confidence: float = 0.0,
    initial_const: float = 1e-3,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return adversarial images that are close to x in L2, and as confident as asked.

    Adam's minimum of ||(x' - x) / 2h||^2 + c max(m(x') + confidence, 0) over w, x' = x + h (tanh w - tanh w_0), with m
    the margin by which the goal is missed, h half the width of the bounds and w_0 the place of x: what never leaves the
    bounds. Each image has its own c: ten times as large until something adversarial is found, then halfway between the
    largest that failed and the smallest that did not.

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        binary_steps: how many c are tried.
        steps: of Adam for each c; an image's end sooner where a tenth of them has not lowered its loss by 1/10,000, and
            the loop when all have ended.
        learning_rate: of Adam, in the unit of w.
        confidence: by how much the logit that wins is to be larger than the next, >= 0: larger ones fool other nets,
            too.
        initial_const: the first c, > 0.
        target: the classes that are wanted instead, or None for any other.
        bounds: the least and the largest value of a pixel.

    Returns:
        Adversarial images of x's shape, by more than rounding over the boundary; x itself where none was found, and
        where the net errs without help (with that confidence).

    Raises:
        ValueError: an option out of range, images out of bounds, classes that are none.
        TypeError: x is not floating.

    Source: Carlini & Wagner 2017, section VI-A with f_6, and their program for c and the early end; agrees with
    `foolbox.attacks.L2CarliniWagnerAttack`, where the loss of the whole batch decides about the end, and w_0 is of an
    image a little smaller than x.
    """
    where = "carlini_wagner"
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    fix = "Pass {}, say."
    rate = scalar(where, "learning_rate > 0", learning_rate, lambda a: a > 0, fix.format("learning_rate=0.01"))
    confidence = scalar(where, "confidence >= 0", confidence, lambda a: a >= 0, fix.format("confidence=0.0"))
    const = scalar(where, "initial_const > 0", initial_const, lambda a: a > 0, fix.format("initial_const=0.001"))
    counts = {"binary_steps": expect_count(where, "binary_steps", binary_steps)}
    counts["steps"] = expect_count(where, "steps", steps)
    return _run(logits_fn, x, goal, rate, confidence, const, bounds=bounds, **counts)


@functools.partial(jax.jit, static_argnames=("binary_steps", "steps", "bounds"))
def _run(
    logits_fn, x: jax.Array, goal: Goal, rate, confidence, const, *, binary_steps: int, steps: int, bounds: Bounds
) -> jax.Array:
    axes, center = image_axes(x, goal), wide(x)
    middle, half = (bounds[1] + bounds[0]) / 2, (bounds[1] - bounds[0]) / 2
    origin = jnp.arctanh(SATURATION * jnp.clip((center - middle) / half, -1, 1))
    adam, first = optax.adam(rate), logits(logits_fn, x)
    clear = slack(first, x.dtype)

    def reached(found: jax.Array) -> jax.Array:
        return clearly_reached(found, goal, clear) & (margin(found, goal) <= -confidence)

    def loss(place: jax.Array, const: jax.Array):
        moved = center + half * (jnp.tanh(place) - jnp.tanh(origin))
        # At a bound the gradient goes on as if there were none: a pixel there is to find back.
        moved += jax.lax.stop_gradient(jnp.clip(moved, *bounds) - moved)
        image = moved.astype(x.dtype)
        found = logits(logits_fn, image)
        missed = jnp.maximum(margin(found, goal) + confidence + 2 * clear, 0)
        values = jnp.sum(((moved - center) / (2 * half)) ** 2, axes) + const * missed
        return values.sum(), (values, image, reached(found))

    def descend(const: jax.Array, best: Smallest) -> tuple[jax.Array, Smallest]:
        def step(state):
            count, place, moments, going, before, met, best = state
            (_, (values, image, hit)), slope = jax.value_and_grad(loss, has_aux=True)(place, const)
            best = smaller(best, x, image, hit, "l2", goal)
            check = count % -(-steps // 10) == 0
            going &= ~check | (values <= 0.9999 * before)
            slope = jnp.where(jnp.isfinite(slope), slope, 0)
            updates, moments = adam.update(slope, moments)
            place = jnp.where(per_image(going, x), place + updates, place)
            return count + 1, place, moments, going, jnp.where(check, values, before), met | hit, best

        nowhere = jnp.full_like(const, jnp.inf)
        start = (0, origin, adam.init(origin), best.size > 0, nowhere, jnp.zeros_like(best.size, bool), best)
        return jax.lax.while_loop(lambda state: (state[0] < steps) & jnp.any(state[3]), step, start)[-2:]

    def search(state, _):
        const, low, high, best = state
        met, best = descend(const, best)
        low, high = jnp.where(met, low, const), jnp.where(met, const, high)
        const = jnp.where(jnp.isfinite(high), (low + high) / 2, 10 * const)
        return (const, low, high, best), None

    best = none_but(x, reached(first))
    none = jnp.zeros_like(best.size)
    start = (none + const, none, none + jnp.inf, best)
    return jax.lax.scan(search, start, None, binary_steps)[0][-1].image
