"""Integrated gradients with images of a set as baselines, all of them a little."""

import functools

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, expect_key, floating
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.score import Target, image_axes, prepared, score_gradient
from jaxcnn.explain.values import expect_finite
from jaxcnn.variants import chunk_of, total_over_variants

__all__ = ["expected_gradients"]


def expected_gradients(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    background: jax.Array,
    samples: int = 64,
    chunk: int | None = None,
) -> jax.Array:
    """Return what each value of the image adds to the score on the way from the images of a background, on average.

    a = E_{b, s}[(x - b) df/dx (b + s (x - b))], b one of the background, s uniform in [0, 1]: the Shapley values of a
    score that is additive on those ways. sum(a) = f(x) - E[f(b)] on average.

    Args:
        key: a PRNG key; each image has draws of its own. The s of an image are evenly spaced, from a random one on.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        target: a class, one for each image, or a function of the outputs -> scores (...): f is its score.
        background: images (K, H, W, C), such as some of the training set.
        samples: gradients for each image.
        chunk: samples at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A map of x's shape, in units of the score.

    Raises:
        ValueError: a background of other images or without any, samples below 1, a target out of range, a map that is
            not finite.
        TypeError: x or background is not floating, no key.

    Source: Erion et al. 2021, equation 4 (2019 as a preprint); agrees with `captum.attr.GradientShap(stdevs=0)`, with
    the same draws. Lundberg and Lee 2017 for the Shapley values.
    """
    where = "expected_gradients"
    expect_key(where, key)
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    background = floating(where, "background", background)
    image = x.shape[min(image_axes(logits_fn, x, target), default=x.ndim) :]
    ok = background.shape[1:] == image and len(background) > 0
    what, fix = f"a background of shape (K, {', '.join(map(str, image))})", "Pass images as those of x, stacked."
    expect(background.ndim > 0 and ok, where, what, background.shape, fix)
    options = {"samples": expect_count(where, "samples", samples), "chunk": chunk_of(where, chunk, x)}
    background = background.astype(x.dtype)
    return expect_finite(where, "the map", _run(key, logits_fn, x, target, background, **options))


@functools.partial(jax.jit, static_argnames=("samples", "chunk"))
def _run(key, logits_fn, x: jax.Array, target, background: jax.Array, *, samples: int, chunk: int) -> jax.Array:
    lead = x.shape[: x.ndim - background.ndim + 1]
    start, draws = jax.random.split(key)
    first = jax.random.uniform(start, lead, x.dtype)

    def part(variant: tuple[jax.Array, jax.Array]) -> jax.Array:
        key, number = variant
        base = background[jax.random.randint(key, lead, 0, len(background))]
        share = ((first + number / samples) % 1).reshape(*lead, *(1,) * (x.ndim - len(lead)))
        slope = score_gradient(logits_fn, base + share * (x - base), target)[1]
        return (x - base) * slope / samples

    variants = jax.random.split(draws, samples), jnp.arange(samples, dtype=x.dtype)
    return total_over_variants(part, variants, chunk).astype(x.dtype)
