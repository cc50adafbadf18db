"""Pooling: one number for each window of each channel."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.checking import expect
from jaxcnn.functional.window import Padding, Size, flat_batch, images, pair, resolve_padding

__all__ = ["avg_pool", "global_avg_pool", "max_pool"]


def max_pool(x: jax.Array, window: Size = 2, *, stride: Size | None = None, padding: Padding = "VALID") -> jax.Array:
    """Return the maximum of each window; the gradient goes to the first maximum in row-major order.

    y[i, j, c] = max_{u, v} x[i s + u - p, j s + v - p, c], padding never wins.

    Args:
        x: images (..., H, W, C), floating.
        window: pixels, one int or (vertical, horizontal).
        stride: pixels between windows; the window's size unless given, so that windows tile the image.
        padding: "VALID" (the ragged edge is dropped), "SAME", pixels, or ((top, bottom), (left, right)).

    Returns:
        (..., H', W', C) of x's dtype; H' = floor((H + pads - window) / stride) + 1.

    Raises:
        ValueError: wrong rank, a window larger than the padded image, padding as large as the window.
        TypeError: x is not floating.

    Source: agrees with `flax.linen.max_pool` and `torch.nn.functional.max_pool2d` (floor mode).
    """
    x = images("max_pool", x)
    size, step, pads = _geometry("max_pool", x, window, stride, padding)
    return _reduce(x, -jnp.inf, lax.max, size, step, pads)


def avg_pool(
    x: jax.Array,
    window: Size = 2,
    *,
    stride: Size | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> jax.Array:
    """Return the mean of each window.

    y[i, j, c] = sum_{u, v} x[i s + u - p, j s + v - p, c] / n, n the pixels of the window.

    Args:
        x: images (..., H, W, C), floating; sums are accumulated in float32.
        window: pixels, one int or (vertical, horizontal).
        stride: pixels between windows; the window's size unless given.
        padding: "VALID" (the ragged edge is dropped), "SAME", pixels, or ((top, bottom), (left, right)).
        count_include_pad: count padded zeros in n (Flax's and PyTorch's default); False divides by real pixels.

    Returns:
        (..., H', W', C) of x's dtype; H' = floor((H + pads - window) / stride) + 1.

    Raises:
        ValueError: wrong rank, a window larger than the padded image, padding as large as the window.
        TypeError: x is not floating.

    Source: agrees with `flax.linen.avg_pool` and `torch.nn.functional.avg_pool2d` (floor mode).
    """
    x = images("avg_pool", x)
    size, step, pads = _geometry("avg_pool", x, window, stride, padding)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    total = _reduce(wide, 0.0, lax.add, size, step, pads)
    if count_include_pad:
        return (total / (size[0] * size[1])).astype(x.dtype)
    real = _reduce(jnp.ones((*x.shape[-3:-1], 1), wide.dtype), 0.0, lax.add, size, step, pads)
    return (total / real).astype(x.dtype)


def global_avg_pool(x: jax.Array) -> jax.Array:
    """Return the mean of each channel over the whole image: (..., H, W, C) -> (..., C).

    Args:
        x: images (..., H, W, C), floating; sums are accumulated in float32.

    Returns:
        (..., C) of x's dtype.

    Raises:
        ValueError: fewer than three axes.
        TypeError: x is not floating.

    Source: Lin et al. 2014 (Network in Network), section 3.2.
    """
    x = images("global_avg_pool", x)
    return jnp.mean(x, axis=(-3, -2), dtype=jnp.promote_types(x.dtype, jnp.float32)).astype(x.dtype)


def _geometry(where: str, x: jax.Array, window: Size, stride: Size | None, padding: Padding):
    size = pair(where, "window", window)
    step = size if stride is None else pair(where, "stride", stride)
    pads = resolve_padding(where, padding, x.shape[-3:-1], size, step)
    expect(
        all(max(sides) < w for sides, w in zip(pads, size, strict=True)),
        where,
        f"padding smaller than the window {size}",
        f"padding={padding!r}",
        "A window that sees padding alone has nothing to pool.",
    )
    return size, step, pads


def _reduce(x: jax.Array, start: float, combine, size, step, pads) -> jax.Array:
    batch, lead = flat_batch(x)
    identity = np.asarray(start, x.dtype)  # a constant: a traced start would hide the monoid and its gradient
    y = lax.reduce_window(batch, identity, combine, (1, *size, 1), (1, *step, 1), ((0, 0), *pads, (0, 0)))
    return y.reshape(*lead, *y.shape[1:])
