"""Normalization by the neighbourhood: of the channels beside a channel, of the pixels around a pixel."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.checking import expect, expect_count, expect_flag, floating, number, scalar
from jaxcnn.functional.window import images

__all__ = ["local_contrast_norm", "local_response_norm"]


def local_response_norm(
    x: jax.Array, *, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> jax.Array:
    """Return the activations divided by a power of the energy of the channels beside theirs.

    y[c] = x[c] / (k + alpha * sum_{d = c - size // 2}^{c + (size - 1) // 2} x[d]^2)^beta, over the channels there are.

    Args:
        x: (..., C), floating; computed in float32.
        size: channels in the window, n in the paper.
        k: > 0.
        alpha: >= 0. PyTorch divides it by the size: its alpha is `size` times this one, its k 1 by default.
        beta: >= 0.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: no axis, or an option out of its range.
        TypeError: x is not floating.

    Source: Krizhevsky et al. 2012 (AlexNet), section 3.3; agrees with
    `torch.nn.functional.local_response_norm(x, size, alpha * size, beta, k)`.
    """
    where = "local_response_norm"
    x = floating(where, "x", x)
    expect(x.ndim >= 1, where, "x of shape (..., C)", x.shape, "Add a channel axis, last.")
    size = expect_count(where, "size", size)
    fix = "The paper has k=2, alpha=1e-4 and beta=0.75."
    k = scalar(where, "a finite k > 0", k, lambda k: 0 < k < math.inf, fix)
    alpha = scalar(where, "a finite alpha >= 0", alpha, lambda a: 0 <= a < math.inf, fix)
    beta = scalar(where, "a finite beta >= 0", beta, lambda b: 0 <= b < math.inf, fix)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    others = (1,) * (x.ndim - 1)
    pads = (*((0, 0),) * (x.ndim - 1), (size // 2, (size - 1) // 2))
    zero = np.zeros((), wide.dtype)  # a constant: a traced start would hide the sum and its gradient
    energy = lax.reduce_window(jnp.square(wide), zero, lax.add, (*others, size), (*others, 1), pads)
    base = k + alpha * energy
    root = lax.rsqrt(base)
    # Two roots are much faster than a power.
    usual = isinstance(beta, float) and beta == 0.75
    return (wide * (root * jnp.sqrt(root) if usual else base**-beta)).astype(x.dtype)


def local_contrast_norm(
    x: jax.Array, *, size: int = 9, sigma: float | None = None, divisive: bool = True, eps: float = 1e-4
) -> jax.Array:
    """Return the images less their local mean and, when `divisive`, divided by their local deviation.

    v = x - m(x); y = v / max(mean(s), s), s = sqrt(max(m(v^2), eps^2)). m is the mean over all channels and over a
    Gaussian window around each pixel, mean that over the pixels of one image. At the borders the weights of the
    pixels that there are sum to 1.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating; computed in float32.
        size: pixels on a side of the window, odd; it may be larger than the image.
        sigma: standard deviation of the window in pixels, > 0; size / 4 unless given.
        divisive: whether to divide, or to subtract alone.
        eps: the least deviation, at least 1e-18, in the units of x: what is fainter stays faint, and constant images
            become 0, with finite gradients.

    Returns:
        v or y, of x's shape and dtype.

    Raises:
        ValueError: wrong rank, or an option out of its range.
        TypeError: x is not floating.

    Source: Jarrett et al. 2009, section 3.1, whose window is 9x9; sigma and eps as in Torch7's `image.gaussian` and
    `nn.SpatialDivisiveNormalization`.
    """
    where = "local_contrast_norm"
    x = images(where, x)
    size = expect_count(where, "size", size)
    expect(size % 2 == 1, where, "an odd size", size, "The window needs a centre: size=9, say.")
    sigma = size / 4 if sigma is None else sigma
    sigma = number(where, "sigma > 0", sigma, lambda s: s > 0, "It is the window's standard deviation in pixels.")
    eps = number(where, "eps >= 1e-18", eps, lambda e: e >= 1e-18, "It is the least deviation: 1e-4 is usual.")
    divisive = expect_flag(where, "divisive", divisive)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    down, across = (gaussian_means(n, size, sigma, wide.dtype) for n in x.shape[-3:-1])

    def local_mean(v):
        # As matrix products: much faster on CPUs than convolutions with one channel.
        flat = jnp.mean(v, axis=-1)
        return jnp.einsum("hp,...pq,wq->...hw", down, flat, across, precision=lax.Precision.HIGHEST)[..., None]

    # What all pixels share changes nothing but the rounding: without it a constant image is exactly 0.
    wide = wide - lax.stop_gradient(wide[..., :1, :1, :1])
    v = wide - local_mean(wide)
    if divisive:
        deviation = jnp.sqrt(jnp.maximum(local_mean(jnp.square(v)), eps**2))
        v = v / jnp.maximum(deviation, jnp.mean(deviation, axis=(-3, -2), keepdims=True))
    return v.astype(x.dtype)


def gaussian_means(n: int, size: int, sigma: float, dtype: Any) -> jax.Array:
    """Return the (n, n) matrix whose row i averages over the Gaussian window around i, as far as it is inside."""
    place = jnp.arange(n)
    offset = place[None, :] - place[:, None]
    weights = jnp.exp(-jnp.square(offset.astype(dtype) / sigma) / 2) * (abs(offset) <= size // 2)
    return weights / weights.sum(axis=1, keepdims=True)
