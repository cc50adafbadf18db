"""The attack of the Jacobian's saliency map (JSMA): pairs of values, set one pair after another, as few as it takes."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, image_axes, logits, margin, per_image, reached
from jaxcnn.checking import number, scalar
from jaxcnn.classifier import LogitsFn

__all__ = ["best_pair", "jacobian_saliency"]


def jacobian_saliency(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    target: Any = None,
    theta: float = 1.0,
    gamma: float = 0.1,
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images of which few values are changed: at each step the two that matter most, until the goal is reached.

    Of all pairs (p, q) of values that can still be moved by theta > 0, the one of the largest

        -alpha beta    among those with alpha > 0 > beta,
        alpha = dz_t/dx_p + dz_t/dx_q,    beta = sum_{j != t} (dz_j/dx_p + dz_j/dx_q)

    is moved, x_p and x_q by theta, and cut off at the bounds. With theta < 0 or without a target (t is the true class
    then) both signs turn round, with both they stay. The pair is found among all n (n - 1) / 2 exactly, with memory
    for n numbers, as most values cannot belong to it (`best_pair`).

    Args:
        logits_fn: images -> logits.
        x: images (..., H, W, C), within the bounds.
        y: their true classes, one for all or one each.
        target: the classes that are wanted, or None for any but y.
        theta: by how much a value is moved in one step, below or above 0, in the unit of the pixels. What is not at its
            bound yet may be moved again.
        gamma: the largest fraction of an image's values that may change, in [0, 1].
        bounds: the least and the largest value of a pixel.

    Returns:
        Adversarial images of x's shape that differ from x in at most floor(gamma n / 2) pairs of values: those that
        reach the goal as soon as they do, of the others the one that came nearest to it. Where no pair does both,
        nothing moves any more.

    Raises:
        ValueError: theta 0, gamma out of range, images out of bounds, classes that are none.
        TypeError: x is not floating.

    Source: Papernot et al. 2016, equations 8 to 10 and algorithm 3, with logits; without a target Wiyatno and Xu 2018
    (NT-JSMA). Agrees with `torchattacks.JSMA` at theta 1; with smaller ones that moves each value once, with theta < 0
    it finds nothing, and where no pair does both it moves the first value.
    """
    where = "jacobian_saliency"
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    fix = "Pass 1.0 to set values to the largest, -1.0 to the least."
    theta = scalar(where, "theta as a number, not 0", theta, lambda t: t != 0 and math.isfinite(t), fix)
    gamma = number(where, "gamma in [0, 1]", gamma, lambda g: 0 <= g <= 1, "It is a fraction of the values.")
    values = math.prod(x.shape[axis] for axis in image_axes(x, goal))
    return _run(logits_fn, x, goal, theta, int(gamma * values / 2 + 1e-9), bounds=bounds)


@partial(jax.jit, static_argnames="bounds")
def _run(logits_fn, x: jax.Array, goal, theta, steps, *, bounds: Bounds) -> jax.Array:
    low, high = bounds
    flat = (*goal.label.shape, math.prod(x.shape[goal.label.ndim :]))
    theta = jnp.asarray(theta, x.dtype)
    sign = jnp.sign(theta) * (-1 if goal.target is None else 1)

    def step(carry: tuple) -> tuple:
        count, image, best, least, going = carry
        found, pull = jax.vjp(lambda image: logits(logits_fn, image), image)
        done = reached(found, goal)
        missed = jnp.where(done, -jnp.inf, margin(found, goal))
        better = going & (missed < least)
        best, least = jnp.where(per_image(better, x), image, best), jnp.where(better, missed, least)

        own = jax.nn.one_hot(goal.focus, found.shape[-1], dtype=found.dtype)
        (slopes,) = jax.vmap(pull)(jnp.stack([own, 1 - own]))
        free = jnp.where(theta > 0, image < high, image > low) & jnp.isfinite(slopes).all(0)
        up, down = (
            jnp.where(free, s * slope.astype(jnp.float32), -jnp.inf).reshape(flat)
            for s, slope in zip((sign, -sign), slopes, strict=True)
        )
        first, second, exists = best_pair(up, down)
        place = jnp.arange(up.shape[-1])
        chosen = (place == first[..., None]) | (place == second[..., None])
        going &= ~done & exists
        chosen = (chosen & going[..., None]).reshape(x.shape)
        image = jnp.where(chosen, jnp.clip(image + theta, low, high), image)
        return count + 1, image, best, least, going

    def more(carry: tuple) -> jax.Array:
        return (carry[0] <= steps) & carry[-1].any()  # the last time to look at what came out

    start = (0, x, x, jnp.full(goal.label.shape, jnp.inf), jnp.ones(goal.label.shape, bool))
    return jax.lax.while_loop(more, step, start)[2]


def best_pair(u: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the two different places p and q with the largest (u_p + u_q) (v_p + v_q), both sums above 0.

    Both sums grow when p is replaced by a place whose u and v are at least as large. So a place to which two others are
    superior in that way need not belong to the pair, and only the few that are left, in order of u those whose v is
    above the second largest so far, are tried with all places.

    Args:
        u, v: (..., n); of what is left out -inf, no NaN.

    Returns:
        p, q and whether there is such a pair, (...) each.
    """
    order = jnp.argsort(-u, axis=-1)
    u, v = (jnp.take_along_axis(a, order, -1) for a in (u, v))
    largest = _before(jax.lax.cummax(v, axis=v.ndim - 1))
    few = v > _before(jax.lax.cummax(jnp.minimum(v, largest), axis=v.ndim - 1))
    candidates = jnp.argsort(~few, axis=-1)
    counts = few.sum(-1)
    places = jnp.arange(u.shape[-1])

    def attempt(carry: tuple) -> tuple:
        k, p, q, most = carry
        at = candidates[..., k][..., None]
        sums = [a + jnp.take_along_axis(a, at, -1) for a in (u, v)]
        ok = (sums[0] > 0) & (sums[1] > 0) & (places != at)
        value = jnp.where(ok, sums[0] * sums[1], -jnp.inf)
        partner, value = value.argmax(-1), jnp.where(k < counts, value.max(-1), -jnp.inf)
        better = value > most
        at = jnp.where(better, at[..., 0], p)
        return k + 1, at, jnp.where(better, partner, q), jnp.where(better, value, most)

    first = jnp.zeros(u.shape[:-1], candidates.dtype)
    start = (0, first, first, jnp.full(u.shape[:-1], -jnp.inf, u.dtype))
    _, p, q, most = jax.lax.while_loop(lambda carry: carry[0] < counts.max(initial=0), attempt, start)
    p, q = (jnp.take_along_axis(order, a[..., None], -1)[..., 0] for a in (p, q))
    return p, q, most > -jnp.inf


def _before(a: jax.Array) -> jax.Array:
    """Return of each place what the one before it holds."""
    return jnp.concatenate([jnp.full_like(a[..., :1], -jnp.inf), a[..., :-1]], -1)
