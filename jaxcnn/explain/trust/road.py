"""Remove and debias: what the net says once the pixels that matter most, or least, are filled in from around."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_key, is_number, number, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.score import Target, expect_score, outcome, prepared
from jaxcnn.explain.trust.imputation import imputed
from jaxcnn.explain.trust.pixels import pixel_map, rank_of_pixels
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["Road", "road"]


class Road(NamedTuple):
    """What is left of a class when the most, and when the least important pixels are gone."""

    fraction: jax.Array  # (F,) of the pixels that are gone
    most_first: jax.Array  # (..., F)
    least_first: jax.Array  # (..., F)
    gap: jax.Array  # (...), half the mean of least_first - most_first: large is good


def road(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    attribution: jax.Array,
    target: Target,
    *,
    fractions: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    noise: float = 0.01,
    score: str = "probability",
    chunk: int | None = None,
) -> Road:
    """Return what is left of the target once pixels are filled in from their neighbours, by how many were.

    Filled in so, a removed pixel tells little of having been removed, which a grey one does: the shape of the hole is
    no clue to the class.

    Args:
        key: a PRNG key, of the noise.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        attribution: (..., H, W, C), whose channels are summed, or (..., H, W); larger is more important.
        target: a class, one for each image, or a function of the outputs.
        fractions: of the pixels that go, each in (0, 1).
        noise: standard deviation of the noise of `noisy_linear_imputation`.
        score: "probability" after softmax, or "score" for the logit.
        chunk: fractions at once; as many as suit the device unless given.

    Returns:
        A `Road` of F fractions.

    Raises:
        ValueError: an attribution of another shape or with values that are not finite, fractions or a target out of
            range.
        TypeError: x or the attribution is not floating, no key.

    Source: Rong, Leemann, Borisov, Kasneci, Kasneci 2022; `gap` is `ROADCombined` of `pytorch_grad_cam`.
    """
    where = "road"
    expect_key(where, key)
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    maps = pixel_map(where, attribution, x)
    ok = isinstance(fractions, Sequence | np.ndarray) and len(fractions) > 0
    ok = ok and all(is_number(f) and 0 < f < 1 for f in fractions)
    expect(ok, where, "fractions between 0 and 1", shown(fractions), "Pass (0.1, 0.5, 0.9), say.")
    noise = number(where, "noise of at least 0", noise, lambda s: s >= 0, "It is a standard deviation.")
    expect_score(where, score)
    options = {"fractions": tuple(map(float, fractions)), "noise": noise, "score": score}
    return _road(key, logits_fn, x, maps, target, chunk=chunk_of(where, chunk, x), **options)


@partial(jax.jit, static_argnames=("fractions", "noise", "score", "chunk"))
def _road(
    key: jax.Array, logits_fn: Any, x: jax.Array, maps: jax.Array, target: Any, *, fractions: tuple[float, ...],
    noise: float, score: str, chunk: int,
) -> Road:  # fmt: skip
    pixels = maps.shape[-1] * maps.shape[-2]
    counts = np.rint(np.array(fractions) * pixels).astype(np.int32)
    rank = rank_of_pixels(maps)

    def value(variant: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        key, first, last = variant
        removed = (first <= rank) & (rank < last)
        return outcome(logits_fn, imputed(key, x, removed, noise), target, score)

    first = np.concatenate([np.zeros_like(counts), pixels - counts])
    last = np.concatenate([counts, np.full_like(counts, pixels)])
    variants = (jax.random.split(key, 2 * len(counts)), jnp.asarray(first), jnp.asarray(last))
    most, least = jnp.split(jnp.moveaxis(over_variants(value, variants, chunk), 0, -1), 2, axis=-1)
    return Road(jnp.asarray(counts / pixels, most.dtype), most, least, (least - most).mean(axis=-1) / 2)
