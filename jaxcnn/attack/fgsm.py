"""One step along the gradient (FGSM), and one step by chance before it (R-FGSM)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.best import Best, Radius, better, image_of, looked_at, met, over_radii
from jaxcnn.attack.given import epsilons, expect_finite, is_trusted, prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, per_image, reached
from jaxcnn.attack.norms import ascended, expect_norm, project, steepest
from jaxcnn.attack.objective import Objective, climbing, objective
from jaxcnn.checking import expect_key, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of

__all__ = ["fgsm", "random_fgsm"]


def fgsm(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    epsilon: Any,
    norm: str = "linf",
    target: Any = None,
    loss: str | Objective = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images after one step, to where the linear part of the loss is the largest.

    x' = argmax g x',   g = dJ/dx,   ||x' - x|| <= epsilon,   low <= x' <= high

    For "linf" that is x + epsilon sign(g), cut off at the bounds. An image that reaches the goal already is left alone.

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating, within the bounds.
        y: the true classes, one for all or one each.
        epsilon: the radius, in the unit of the pixels: a number, or an array of several.
        norm: "linf", "l2" or "l1".
        target: the classes that are wanted, one for all or one each; None for any but y.
        loss: what is climbed: "cross_entropy", "margin", "dlr" (of 3 classes at least, with a target 4), or a
            function (logits, goal) -> (...).
        bounds: the least and the largest value of a pixel.

    Returns:
        The images, of x's shape with epsilon's axes in front.

    Raises:
        ValueError: images out of bounds, classes that are none, an epsilon below 0 or for "linf" beyond the width of
            the bounds, an unknown norm or loss, probabilities for logits, gradients that are not finite.
        TypeError: x is not floating.

    Source: Goodfellow, Shlens, Szegedy 2015, section 4; agrees with `foolbox.attacks.LinfFastGradientAttack`, and where
    no pixel meets its bounds with `L2FastGradientAttack`, which elsewhere stops short of epsilon.
    """
    where = "fgsm"
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    expect_norm(where, norm)
    climbed, most = objective(where, loss, logits_fn, x, target), epsilons(where, epsilon, norm, bounds)
    options = {"norm": norm, "bounds": bounds, "loss": climbed, "chunk": chunk_of(where, None, x)}
    found, finite = _step(logits_fn, x, goal, most, **options)
    if not is_trusted(logits_fn):
        expect_finite(where, finite)
    return found


def random_fgsm(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    epsilon: Any,
    alpha: Any = None,
    target: Any = None,
    loss: str | Objective = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images after a step by chance and one along the gradient there, which may tell more than the one at x.

    r = x + alpha sign(n),   n normal;   x' = r + (epsilon - alpha) sign(dJ/dx (r)),   cut off at the bounds

    Of x, r and x', one that reaches the goal, or else the one with the largest loss, is returned. (A start drawn from
    the whole ball, as in "fast" adversarial training, is `pgd` with steps=1 and step_size=1.25 * epsilon.)

    Args:
        key: a PRNG key.
        logits_fn, x, y, target, loss, bounds: as for `fgsm`.
        epsilon: how much a value may change, in the unit of the pixels: a number, or an array of several.
        alpha: the length of the first step, at most epsilon, of which it is half unless given.

    Returns:
        The images, of x's shape with epsilon's axes in front.

    Raises:
        ValueError, TypeError: as for `fgsm`; an alpha below 0, no key.

    Source: Tramer et al. 2018, section 4.1 (RAND+FGSM).
    """
    where = "random_fgsm"
    expect_key(where, key)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    climbed, most = objective(where, loss, logits_fn, x, target), epsilons(where, epsilon, "linf", bounds)
    fix = "Leave it out for half of epsilon."
    first = most / 2 if alpha is None else scalar(where, "alpha of at least 0", alpha, lambda a: a >= 0, fix)
    options = {"bounds": bounds, "loss": climbed, "chunk": chunk_of(where, None, x)}
    best = _random_step(key, logits_fn, x, goal, Radius(most, jnp.minimum(first, most)), **options)
    return image_of(where, logits_fn, best)


@functools.partial(jax.jit, static_argnames=("norm", "bounds", "loss", "chunk"))
def _step(logits_fn, x: jax.Array, goal: Goal, epsilon: jax.Array, *, norm: str, bounds, loss: Objective, chunk: int):
    """Return the images, and whether the gradient at x is finite."""
    found, _, slope = climbing(logits_fn, x, goal, loss)
    stay = per_image(reached(found, goal), x)

    def moved(radius: jax.Array) -> jax.Array:
        return jnp.where(stay, x, ascended(slope, x, radius, norm, bounds, image_axes(x, goal)))

    return over_radii(moved, epsilon, chunk), jnp.isfinite(slope).all()


@functools.partial(jax.jit, static_argnames=("bounds", "loss", "chunk"))
def _random_step(key, logits_fn, x: jax.Array, goal: Goal, radii: Radius, *, bounds, loss: Objective, chunk: int):
    way = jnp.sign(jax.random.normal(key, x.shape)).astype(x.dtype)
    original, axes = looked_at(logits_fn, x, goal, loss), image_axes(x, goal)

    def attempt(radius: Radius) -> Best:
        start = project(x + radius.step.astype(x.dtype) * way, x, radius.step, "linf", bounds, axes)
        found, values, slope = climbing(logits_fn, start, goal, loss)
        step = (radius.epsilon - radius.step).astype(x.dtype) * steepest(slope, "linf", axes)
        end = project(start + step, x, radius.epsilon, "linf", bounds, axes)
        first = better(original, met(start, found, values, goal, slope))
        return better(first, looked_at(logits_fn, end, goal, loss))

    return over_radii(attempt, radii, chunk)
