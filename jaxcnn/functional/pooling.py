"""Pooling: one number for each window of each channel."""

import math
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.checking import expect_flag, number
from jaxcnn.functional.primitives.taps import padded, taps_along, tiles
from jaxcnn.functional.primitives.window_max import window_max
from jaxcnn.functional.window import Padding, Size, flat_batch, images, pool_windows, resolve_padding

__all__ = ["avg_pool", "lp_pool", "max_pool"]


def max_pool(
    x: jax.Array,
    window: Size = 2,
    *,
    stride: Size | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Return the maximum of each window; the gradient goes to the first maximum in row-major order.

    y[i, j, c] = max_{u, v} x[i s + u - p, j s + v - p, c], padding never wins.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating.
        window: pixels, one int or (vertical, horizontal).
        stride: pixels between windows; the window's size unless given, so that windows tile the image.
        padding: "VALID" (no padding), "SAME", pixels, or ((top, bottom), (left, right)).
        ceil_mode: keep the ragged edge, which is dropped otherwise, as one more, smaller window.

    Returns:
        (..., H', W', C) of x's dtype; H' = floor((H + pads - window) / stride) + 1, with `ceil_mode` the ceiling,
        less a last window that would start in the padding after the image.

    Raises:
        ValueError: wrong rank, a window larger than the padded image, padding as large as the window.
        TypeError: x is not floating.

    Source: agrees with `flax.linen.max_pool` (which drops the edge) and `torch.nn.functional.max_pool2d`.
    """
    x = images("max_pool", x)
    size, step, pads = pool_windows("max_pool", x.shape[-3:-1], window, stride, padding, ceil_mode)
    batch, lead = flat_batch(x)
    y = window_max(batch, size, step, pads)
    return y.reshape(*lead, *y.shape[1:])


def avg_pool(
    x: jax.Array,
    window: Size = 2,
    *,
    stride: Size | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> jax.Array:
    """Return the mean of each window.

    y[i, j, c] = sum_{u, v} x[i s + u - p, j s + v - p, c] / n, n the pixels of the window.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating; sums are accumulated in float32.
        window: pixels, one int or (vertical, horizontal).
        stride: pixels between windows; the window's size unless given.
        padding: "VALID" (no padding), "SAME", pixels, or ((top, bottom), (left, right)).
        ceil_mode: keep the ragged edge, which is dropped otherwise, as one more window; what that window has
            outside image and padding counts for nothing.
        count_include_pad: count padded zeros in n (Flax's and PyTorch's default); False divides by real pixels.

    Returns:
        (..., H', W', C) of x's dtype; H' as for `max_pool`.

    Raises:
        ValueError: wrong rank, a window larger than the padded image, padding as large as the window.
        TypeError: x is not floating.

    Source: agrees with `flax.linen.avg_pool` (which drops the edge) and `torch.nn.functional.avg_pool2d`.
    """
    x = images("avg_pool", x)
    size, step, pads = pool_windows("avg_pool", x.shape[-3:-1], window, stride, padding, ceil_mode)
    total = _sums(x.astype(jnp.promote_types(x.dtype, jnp.float32)), size, step, pads)
    # What counts beside the image: its padding, never what a ragged window reaches beyond.
    counted = ((0, 0), (0, 0))
    if expect_flag("avg_pool", "count_include_pad", count_include_pad):
        counted = resolve_padding("avg_pool", padding, x.shape[-3:-1], size, step)
    rows, columns = (_counts(*axis) for axis in zip(x.shape[-3:-1], size, step, pads, counted, strict=True))
    rows, columns = (counts[:1] if len(set(counts.tolist())) == 1 else counts for counts in (rows, columns))
    rows, columns = (jnp.asarray(counts, total.dtype) for counts in (rows, columns))
    lead = range(x.ndim - 3)
    counts = jnp.expand_dims(rows, (*lead, -2, -1)) * jnp.expand_dims(columns, (*lead, -3, -1))
    return (total / counts).astype(x.dtype)


def lp_pool(
    x: jax.Array,
    window: Size = 2,
    *,
    p: float = 2.0,
    stride: Size | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Return the p-norm of each window: the sum of magnitudes at p = 1, nearly the largest one at large p.

    y[i, j, c] = (sum |x|^p)^(1/p) over the window of y[i, j, c]; where all of it is zero, so is the gradient.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating; norms are computed in float32, each scaled by its largest
            term, so that no power overflows.
        window: pixels, one int or (vertical, horizontal).
        p: the norm's order, finite and at least 1.
        stride: pixels between windows; the window's size unless given.
        padding: "VALID" (no padding), "SAME", pixels, or ((top, bottom), (left, right)); zeros add nothing.
        ceil_mode: keep the ragged edge, which is dropped otherwise, as one more, smaller window.

    Returns:
        (..., H', W', C) of x's dtype, not negative; H' as for `max_pool`.

    Raises:
        ValueError: wrong rank, p below 1 or infinite, a window larger than the padded image, padding as large as the
            window.
        TypeError: x is not floating.

    Source: Sermanet et al. 2012 (Convolutional neural networks applied to house numbers digit classification),
    section 2.2, without the Gaussian weights; agrees with `torch.nn.functional.lp_pool2d` except that PyTorch sums
    x^p without the magnitude (other values at odd p) and blows ragged windows up to the size of full ones.
    """
    x = images("lp_pool", x)
    p = norm_order("lp_pool", p)
    size, step, pads = pool_windows("lp_pool", x.shape[-3:-1], window, stride, padding, ceil_mode)
    y = padded(jnp.abs(x.astype(jnp.promote_types(x.dtype, jnp.float32))), pads)
    for axis in (0, 1):  # the norm of a window is the norm of the norms of its columns
        y = _norm(taps_along(y, axis - 3, size[axis], step[axis]), p)
    return y.astype(x.dtype)


def norm_order(where: str, p: float) -> float:
    """Return `p` as a float; raise `ValueError` unless it is the order of a norm with a useful gradient."""
    fix = "For p = inf use max_pool of jnp.abs(x)."
    return number(where, "a finite p >= 1", p, lambda p: 1 <= p < math.inf, fix)


def _norm(terms: list[jax.Array], p: float) -> jax.Array:
    """The p-norm of magnitudes, divided by the largest before they are raised: its derivative cancels."""
    tiny = float(jnp.finfo(terms[0].dtype).tiny)
    largest = lax.stop_gradient(reduce(jnp.maximum, terms))
    none = largest < tiny
    scale = jnp.clip(largest, tiny, 1 / tiny)  # what has an inverse
    ratios = [term * (1 / scale) for term in terms]
    powers = [lax.integer_pow(r, int(p)) if p.is_integer() else jnp.power(r, p) for r in ratios]
    total = jnp.where(none, 1, reduce(jnp.add, powers))
    return jnp.where(none, 0, scale * jnp.exp(jnp.log(total) / p))


def _counts(n: int, window: int, stride: int, pads: tuple[int, int], counted: tuple[int, int]) -> np.ndarray:
    """How many pixels each window has along one axis of n pixels and `counted` ones on both sides."""
    starts = np.arange(0, n + sum(pads) - window + 1, stride) - pads[0]
    return np.minimum(starts + window, n + counted[1]) - np.maximum(starts, -counted[0])


def _sums(x: jax.Array, size, step, pads) -> jax.Array:
    """The sum of each window, in forms with a fast gradient: that of `reduce_window` takes 5 times as long on CPU."""
    if size == step:
        return jnp.sum(tiles(x, size, pads), axis=(-4, -2))
    x = padded(x, pads)
    for axis in (0, 1):
        x = reduce(jnp.add, taps_along(x, axis - 3, size[axis], step[axis]))
    return x
