"""Occlusion: how far the score falls when a window of the image is covered."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, is_int, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.score import Target, prepared, score
from jaxcnn.explain.values import expect_finite
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["Size", "occlusion", "pair"]

Size = tuple[int, int]


def occlusion(
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    window: int | Size = 4,
    stride: int | Size = 2,
    baseline: float | jax.Array | str = 0.0,
    chunk: int | None = None,
) -> jax.Array:
    """Return of each pixel the mean fall of the score over the windows that cover it.

    a[p] = mean_{w over p} f(x) - f(x with window w replaced). Windows begin at 0, stride, 2 stride, ...; the last one
    along each axis reaches the image's end, or beyond.

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        target: a class, one for each image, or a function of the outputs -> scores (...): f is its score.
        window: pixels along each side, or (height, width), at most the image's; all channels are covered together.
        stride: pixels from a window to the next, or (down, right), at most the window's: no pixel is left out.
        baseline: what stands in the window: a number, an array that broadcasts to x, or "blur".
        chunk: windows at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A map of x's shape, in units of the score; the channels of a pixel have the same value.

    Raises:
        ValueError: a window larger than the image, a stride larger than the window, a baseline that does not fit x, a
            target out of range, a map that is not finite.
        TypeError: x is not floating.

    Source: Zeiler and Fergus 2014, section 4.2; agrees with `captum.attr.Occlusion` with all channels in its window.
    """
    where = "occlusion"
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    window, stride = pair(where, "window", window, x), pair(where, "stride", stride, x)
    ok = all(s <= w for s, w in zip(stride, window, strict=True))
    fix = "Pass a smaller stride: what lies between the windows would have no value."
    expect(ok, where, f"a stride of at most the window's {window}", stride, fix)
    other = baseline_of(where, baseline, x)
    options = {"window": window, "stride": stride, "chunk": chunk_of(where, chunk, x)}
    return expect_finite(where, "the map", _run(logits_fn, x, target, other, **options))


def pair(where: str, name: str, size: Any, x: jax.Array) -> Size:
    """Return (height, width) of something that lies in the images; raise `ValueError` if it does not."""
    fix = "Pass maps (..., H, W, C): use explain.gradient(...), say, for what is flat."
    expect(x.ndim >= 3, where, "x of shape (..., H, W, C)", x.shape, fix)
    both = size if isinstance(size, tuple | list) else (size, size)
    most = x.shape[-3:-1]
    ok = len(both) == 2 and all(is_int(n, 1, m) for n, m in zip(both, most, strict=True))
    fix = "Pass 4, or (height, width), in pixels."
    expect(ok, where, f"{name} as an int or two, from 1 to the image's {most}", shown(size), fix)
    return int(both[0]), int(both[1])


@functools.partial(jax.jit, static_argnames=("window", "stride", "chunk"))
def _run(
    logits_fn, x: jax.Array, target, other: jax.Array, *, window: Size, stride: Size, chunk: int
) -> jax.Array:  # fmt: skip
    rows, columns = (_covered(*each) for each in zip(x.shape[-3:-1], window, stride, strict=True))

    def value(at: tuple[jax.Array, jax.Array]) -> jax.Array:
        covered = rows[at[0]][:, None, None] & columns[at[1]][None, :, None]
        return score(logits_fn, jnp.where(covered, other, x), target)

    down, right = len(rows) - 1, len(columns) - 1
    # The last of each covers nothing: that is the image as it is.
    at = [np.append(index.ravel(), end) for index, end in zip(np.indices((down, right)), (down, right), strict=True)]
    values = over_variants(value, tuple(map(jnp.asarray, at)), chunk)
    falls = (values[-1] - values[:-1]).reshape(down, right, *values.shape[1:])
    rows, columns = (covered[:-1].astype(x.dtype) for covered in (rows, columns))
    # All windows over a pixel are all rows of windows over it times all columns of them.
    means = [covered / covered.sum(0) for covered in (rows, columns)]
    return jnp.broadcast_to(jnp.einsum("ij...,ih,jw->...hw", falls, *means)[..., None], x.shape).astype(x.dtype)


def _covered(size: int, window: int, stride: int) -> jax.Array:
    """Return for each window along an axis which pixels it covers, (windows + 1, size); the last one covers none."""
    starts = np.arange(-(-(size - window) // stride) + 1)[:, None] * stride
    pixels = np.arange(size)
    return jnp.asarray(np.append((starts <= pixels) & (pixels < starts + window), np.zeros((1, size), bool), axis=0))
