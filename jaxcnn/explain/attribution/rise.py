"""RISE: which pixels does the class need to be seen, judged from many images of which only a part can be seen?"""

import functools

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, expect_key, scalar
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.score import Target, expect_score, outcome, prepared
from jaxcnn.explain.values import expect_finite
from jaxcnn.variants import chunk_of, total_over_variants

__all__ = ["rise"]


def rise(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    masks: int = 1000,
    cells: int = 8,
    keep: float = 0.5,
    score: str = "probability",
    baseline: float | jax.Array | str = 0.0,
    chunk: int | None = None,
) -> jax.Array:
    """Return of each pixel the mean score of the class where the pixel can be seen.

    a[p] = sum_i M_i[p] f(x M_i + b (1 - M_i)) / sum_i M_i[p]. A mask M is a grid of cells, each seen (1) with
    probability `keep` or not (0), enlarged bilinearly to one cell more than the image and cut out of that at random.

    Args:
        key: a PRNG key; the masks that it gives are those of all images.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        target: a class, one for each image, or a function of the outputs -> scores (...), which are taken as they are.
        masks: how many; noise falls with their square root.
        cells: of the grid, along each side, at most the image's: what is smaller is not told apart.
        keep: between 0 and 1.
        score: "probability" after softmax, or "score" for the logit.
        baseline: what is seen where nothing can be: a number, an array that broadcasts to x, or "blur".
        chunk: masks at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A map of x's shape, in units of the score; the channels of a pixel have the same value.

    Raises:
        ValueError: an option out of range, a baseline that does not fit x, a target out of range, a map that is not
            finite.
        TypeError: x is not floating, no key.

    Source: Petsiuk, Das, Saenko 2018, equation 4 and section 3.2. Its equation 6 divides by the masks' expected sum and
    not by their sum: then an image that no mask changes has the noise of the masks for a map.
    """
    where = "rise"
    expect_key(where, key)
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    expect(x.ndim >= 3, where, "x of shape (..., H, W, C)", x.shape, "Pass maps: what is flat has no neighbours.")
    masks, cells = expect_count(where, "masks", masks), expect_count(where, "cells", cells, most=min(x.shape[-3:-1]))
    keep = scalar(where, "keep between 0 and 1", keep, lambda p: 0 < p < 1, "It is the probability of a cell.")
    expect_score(where, score)
    other = baseline_of(where, baseline, x)
    options = {"masks": masks, "cells": cells, "score": score, "chunk": chunk_of(where, chunk, x)}
    return expect_finite(where, "the map", _run(key, logits_fn, x, target, other, keep, **options))


@functools.partial(jax.jit, static_argnames=("masks", "cells", "score", "chunk"))
def _run(
    key, logits_fn, x: jax.Array, target, other: jax.Array, keep, *, masks: int, cells: int, score: str, chunk: int
) -> jax.Array:
    size = x.shape[-3:-1]

    def seen(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        mask = _mask(key, size, cells, keep).astype(x.dtype)
        value = outcome(logits_fn, other + mask[..., None] * (x - other), target, score)
        return value[..., None, None] * mask, mask

    total, weight = total_over_variants(seen, jax.random.split(key, masks), chunk)
    maps = total / jnp.where(weight == 0, 1, weight)
    return jnp.broadcast_to(maps[..., None], x.shape).astype(x.dtype)


def _mask(key: jax.Array, size: tuple[int, ...], cells: int, keep) -> jax.Array:
    """Return one mask (H, W) in [0, 1]."""
    grid, *shifts = jax.random.split(key, 3)
    open_ = jax.random.bernoulli(grid, keep, (cells, cells)).astype(jnp.float32)
    rows, columns = (_enlarging(shift, n, cells) for shift, n in zip(shifts, size, strict=True))
    return rows @ open_ @ columns.T


def _enlarging(key: jax.Array, size: int, cells: int) -> jax.Array:
    """Return the matrix (size, cells) that enlarges along an axis, and cuts out where the key says."""
    cell = -(-size // cells)
    first = jax.random.randint(key, (), 0, cell)
    places = (jnp.arange(size) + first + 0.5) * (cells / (cell * (cells + 1))) - 0.5
    places = jnp.clip(places, 0, cells - 1)
    return jnp.maximum(0, 1 - jnp.abs(places[:, None] - jnp.arange(cells)))
