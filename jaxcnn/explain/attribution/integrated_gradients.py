"""The gradient integrated along the way from a baseline to the image, and how much of the score that accounts for."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, expect_count, shaped, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.front import front_of
from jaxcnn.explain.score import Target, class_scores, image_axes, prepared, score
from jaxcnn.explain.values import expect_finite
from jaxcnn.variants import chunk_of, total_over_variants

__all__ = ["completeness_error", "integrated_gradients"]

Baseline = float | jax.Array | str
METHODS = ("gausslegendre", "midpoint", "trapezoid", "left", "right")


def integrated_gradients(
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    baseline: Baseline | Sequence[Baseline] = 0.0,
    steps: int = 64,
    method: str = "gausslegendre",
    chunk: int | None = None,
) -> jax.Array:
    """Return what each value of the image adds to the score on the way from a baseline.

    a = (x - b) integral_0^1 df/dx (b + s (x - b)) ds, so that sum(a) = f(x) - f(b), but for the error of the sum
    that stands for the integral: `completeness_error`.

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        target: a class, one for each image, or a function of the outputs -> scores (...): f is its score.
        baseline: an image without what matters: a number, an array that broadcasts to x, or "blur"; or a list of such
            ones, over which the mean is taken. What equals the baseline is given nothing: with 0.0 that is what is
            black, which [0.0, 1.0] avoids.
        steps: gradients on each way.
        method: where they are taken: "gausslegendre", "midpoint", "trapezoid", "left" or "right" (the paper's).
        chunk: steps at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A map of x's shape, in units of the score.

    Raises:
        ValueError: a baseline that does not fit x, an unknown method, no steps, a target out of range, a map that is
            not finite.
        TypeError: x is not floating.

    Source: Sundararajan, Taly, Yan 2017, equations 1 and 3; agrees with `captum.attr.IntegratedGradients`, except for
    "trapezoid", whose weights sum to (steps - 1) / steps there.
    """
    where = "integrated_gradients"
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    expect_choice(where, f"method as one of {METHODS}", method, METHODS)
    steps = expect_count(where, "steps", steps, 2 if method == "trapezoid" else 1)
    nodes, weights = (jnp.asarray(a, x.dtype) for a in _quadrature(method, steps))
    baselines, chunk = _stacked(where, baseline, x), chunk_of(where, chunk, x)
    return expect_finite(where, "the map", _run(logits_fn, x, target, baselines, nodes, weights, chunk=chunk))


def completeness_error(
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    attribution: jax.Array,
    *,
    baseline: Baseline | Sequence[Baseline] = 0.0,
) -> jax.Array:
    """Return how far an attribution is from adding up to the score's difference to a baseline, as a fraction of it.

    |sum(a) - (f(x) - f(b))| / |f(x) - f(b)|, of several baselines with the mean of f(b).

    Args:
        logits_fn, x, target, baseline: as for `integrated_gradients`.
        attribution: of x's shape, such as those of `integrated_gradients`, `expected_gradients`, `shapley_sampling`.

    Returns:
        (...), one number an image; the sum itself where the scores do not differ.

    Raises:
        ValueError: an attribution of another shape, a baseline that does not fit x, a target out of range.

    Source: Sundararajan, Taly, Yan 2017, section 3 (completeness) and 5; the absolute value, relative, of captum's
    `compute_convergence_delta`.
    """
    where = "completeness_error"
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    attribution = shaped(where, "attribution", attribution, x.shape)
    return _error(logits_fn, x, target, attribution, _stacked(where, baseline, x))


@functools.partial(jax.jit, static_argnames="chunk")
def _run(logits_fn, x: jax.Array, target, baselines: jax.Array, nodes, weights, *, chunk: int) -> jax.Array:
    front, rest = front_of(logits_fn, x)
    there = front(x)

    def from_one(baseline: jax.Array) -> jax.Array:
        # The way is straight up to the first nonlinearity, and what leads back from there is linear.
        here, back = jax.vjp(front, baseline)

        def part(variant: tuple[jax.Array, jax.Array]) -> Any:
            node, weight = variant
            inside = jax.tree.map(lambda a, b: (a + node * (b - a)).astype(a.dtype), here, there)
            slope = jax.grad(lambda inside: class_scores(rest(inside), target).sum())(inside)
            return jax.tree.map(lambda leaf: weight * leaf, slope)

        total = total_over_variants(part, (nodes, weights), chunk)
        return (x - baseline) * back(jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), total, here))[0]

    one = len(baselines) == 1  # no loop around the loop
    return (from_one(baselines[0]) if one else jax.lax.map(from_one, baselines).mean(0)).astype(x.dtype)


@jax.jit
def _error(logits_fn, x: jax.Array, target, attribution: jax.Array, baselines: jax.Array) -> jax.Array:
    scores = jax.lax.map(lambda x: score(logits_fn, x, target), jnp.concatenate([x[None], baselines]))
    difference = scores[0] - scores[1:].mean(0)
    error = jnp.abs(attribution.sum(image_axes(logits_fn, x, target)) - difference)
    return error / jnp.where(difference == 0, 1, jnp.abs(difference))


def _stacked(where: str, baseline: Any, x: jax.Array) -> jax.Array:
    """Return the baselines, (many, *x.shape)."""
    several = list(baseline) if isinstance(baseline, list | tuple) else [baseline]
    expect(len(several) > 0, where, "a baseline, or a list of some", shown(baseline), "Pass 0.0, say.")
    return jnp.stack([baseline_of(where, each, x) for each in several])


def _quadrature(method: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where in [0, 1] a function is to be known, and with which weights its values sum to its integral."""
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (1 + nodes) / 2, weights / 2
    if method == "trapezoid":
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps), weights
    shift = {"left": 0.0, "midpoint": 0.5, "right": 1.0}[method]
    return (np.arange(steps) + shift) / steps, np.full(steps, 1 / steps)
