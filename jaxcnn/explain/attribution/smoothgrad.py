"""Gradients of noisy copies of an image: their mean, their mean square, their variance."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_count, expect_key, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.front import front_of
from jaxcnn.explain.score import Target, class_scores, image_axes, prepared, score_gradient
from jaxcnn.explain.values import expect_finite
from jaxcnn.variants import chunk_of, total_over_variants

__all__ = ["smoothgrad", "smoothgrad_squared", "vargrad"]


def smoothgrad(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    noise: float = 0.15,
    samples: int = 50,
    chunk: int | None = None,
) -> jax.Array:
    """Return the mean gradient over noisy copies of each image.

    a = 1/n sum_i g_i,   g_i = df / dx at x + sigma e_i,   e_i normal,   sigma = noise (max x - min x)

    Args:
        key: a PRNG key; the same one gives the same noise, whatever the target and the chunk.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        target: a class, one for each image, or a function of the outputs -> scores (...): f is its score.
        noise: its standard deviation as a fraction of the range of each image's own values, >= 0; the paper takes 0.1
            to 0.2. (In captum it has the unit of x: `stdevs`.)
        samples: noisy copies n.
        chunk: copies at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A map of x's shape, in score per unit of x.

    Raises:
        ValueError: noise below 0, samples or a chunk below 1, a target out of range, a map that is not finite.
        TypeError: x is not floating, no key.

    Source: Smilkov et al. 2017, sections 2 and 3; agrees with `captum.attr.NoiseTunnel(Saliency(abs=False))`, with the
    same noise.
    """
    return _statistic("smoothgrad", key, logits_fn, x, target, noise, samples, chunk)


def smoothgrad_squared(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    noise: float = 0.15,
    samples: int = 50,
    chunk: int | None = None,
) -> jax.Array:
    """Return the mean square of the gradient over noisy copies of each image.

    a = 1/n sum_i g_i^2, g_i as for `smoothgrad`.

    Args:
        key, logits_fn, x, target, noise, samples, chunk: as for `smoothgrad`.

    Returns:
        A map of x's shape, not negative.

    Raises:
        ValueError, TypeError: as for `smoothgrad`.

    Source: Hooker et al. 2019, section 4.1; agrees with `captum.attr.NoiseTunnel`, `nt_type="smoothgrad_sq"`.
    """
    return _statistic("smoothgrad_squared", key, logits_fn, x, target, noise, samples, chunk)


def vargrad(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    noise: float = 0.15,
    samples: int = 50,
    chunk: int | None = None,
) -> jax.Array:
    """Return the variance of the gradient over noisy copies of each image.

    a = 1/n sum_i (g_i - mean g)^2, g_i as for `smoothgrad`.

    Args:
        key, logits_fn, x, target, noise, samples, chunk: as for `smoothgrad`.

    Returns:
        A map of x's shape, not negative.

    Raises:
        ValueError, TypeError: as for `smoothgrad`.

    Source: Adebayo et al. 2018, appendix; agrees with `captum.attr.NoiseTunnel`, `nt_type="vargrad"`, whose difference
    of the mean square and the squared mean may come out negative where the variance is small.
    """
    return _statistic("vargrad", key, logits_fn, x, target, noise, samples, chunk)


def _statistic(
    where: str, key: Any, logits_fn: Any, x: Any, target: Any, noise: Any, samples: Any, chunk: Any
) -> jax.Array:
    expect_key(where, key)
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    noise = scalar(where, "noise of at least 0", noise, lambda s: s >= 0, "It is a fraction of each image's range.")
    options = {"samples": expect_count(where, "samples", samples), "chunk": chunk_of(where, chunk, x)}
    return expect_finite(where, "the map", _run(key, logits_fn, x, target, noise, statistic=where, **options))


@functools.partial(jax.jit, static_argnames=("statistic", "samples", "chunk"))
def _run(key, logits_fn, x: jax.Array, target, noise, *, statistic: str, samples: int, chunk: int) -> jax.Array:
    axes = image_axes(logits_fn, x, target)
    deviation = (noise * (x.max(axes, keepdims=True) - x.min(axes, keepdims=True))).astype(x.dtype)
    keys = jax.random.split(key, samples)

    def noisy(key: jax.Array) -> jax.Array:
        return x + deviation * jax.random.normal(key, x.shape, x.dtype)

    if statistic == "smoothgrad":
        front, rest = front_of(logits_fn, x)
        inside, back = jax.vjp(front, x)

        def slope(key: jax.Array) -> Any:
            return jax.grad(lambda inside: class_scores(rest(inside), target).sum())(front(noisy(key)))

        total = total_over_variants(slope, keys, chunk)
        return back(jax.tree.map(lambda leaf, like: (leaf / samples).astype(like.dtype), total, inside))[0]
    # A variance is that of what is left of one gradient: nearly all of it would cancel.
    center = score_gradient(logits_fn, x, target)[1] if statistic == "vargrad" else jnp.zeros_like(x)

    def powers(key: jax.Array) -> list[jax.Array]:
        slope = score_gradient(logits_fn, noisy(key), target)[1] - center
        return [slope] * (statistic == "vargrad") + [slope**2]

    *first, last = [power / samples for power in total_over_variants(powers, keys, chunk)]
    return (jnp.maximum(last - first[0] ** 2, 0) if first else last).astype(x.dtype)
