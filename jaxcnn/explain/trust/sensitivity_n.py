"""Sensitivity-n: do the attributions of n pixels add up to what the score loses without them?"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, expect_key, is_int, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.score import Target, prepared, score
from jaxcnn.explain.trust.correlation import pearson
from jaxcnn.explain.trust.pixels import pixel_map, rank_of_pixels
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["sensitivity_n"]


def sensitivity_n(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    attribution: jax.Array,
    target: Target,
    n: int | Sequence[int],
    *,
    baseline: float | jax.Array | str = 0.0,
    samples: int = 100,
    chunk: int | None = None,
) -> jax.Array:
    """Return how well the sum of attributions tells what is lost with random sets of n pixels, from -1 to 1.

        corr_S( sum of attribution over S, f(x) - f(x without the pixels S) ),   |S| = n

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        attribution: (..., H, W, C), whose channels are summed, or (..., H, W).
        target: a class, one for each image, or a function of the outputs: f is its score.
        n: how many pixels go, all channels of each, or several such numbers, each in 1..H W - 1.
        baseline: what stands in their place, as for `deletion`.
        samples: sets of pixels for each image and n.
        chunk: sets at once; as many as suit the device unless given.

    Returns:
        (...) of one n, (..., len(n)) of several. 0 where the sums or the scores do not vary.

    Raises:
        ValueError: an attribution of another shape or with values that are not finite, n or a target out of range.
        TypeError: x or the attribution is not floating, no key.

    Source: Ancona, Ceolini, Öztireli, Gross 2018, section 4, definition 1.
    """
    where = "sensitivity_n"
    expect_key(where, key)
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    maps = pixel_map(where, attribution, x)
    other = baseline_of(where, baseline, x)
    most = maps.shape[-1] * maps.shape[-2] - 1
    counts = [n] if is_int(n) else list(n) if isinstance(n, Sequence | np.ndarray) else []
    ok = bool(counts) and all(is_int(count, 1, most) for count in counts)
    expect(ok, where, f"n in 1..{most}, or several such", shown(n), "It is a number of pixels.")
    samples = expect_count(where, "samples", samples)
    options = {"samples": samples, "chunk": chunk_of(where, chunk, x)}
    found = _correlation(key, logits_fn, x, other, maps, target, jnp.asarray(counts, jnp.int32), **options)
    return found[..., 0] if is_int(n) else found


@partial(jax.jit, static_argnames=("samples", "chunk"))
def _correlation(
    key: jax.Array, logits_fn: Any, x: jax.Array, other: jax.Array, maps: jax.Array, target: Any, counts: jax.Array,
    *, samples: int, chunk: int,
) -> jax.Array:  # fmt: skip
    before = score(logits_fn, x, target)

    def one(variant: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        key, count = variant
        gone = rank_of_pixels(jax.random.uniform(key, maps.shape)) < count
        left = jnp.where(gone[..., None], other, x)
        return (maps * gone).sum(axis=(-2, -1)), before - score(logits_fn, left, target)

    keys = jax.random.split(key, samples * counts.size)
    said, lost = over_variants(one, (keys, jnp.tile(counts, samples)), chunk)
    by_sample = lambda y: jnp.moveaxis(y.reshape(samples, counts.size, *y.shape[1:]), (0, 1), (-1, -2))  # noqa: E731
    return pearson(by_sample(said), by_sample(lost))
