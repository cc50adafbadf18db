"""Full connection: every output sees every input."""

import functools

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating, shaped
from jaxcnn.functional.spread import spread
from jaxcnn.functional.window import images

__all__ = ["dense", "flatten", "maxout"]


def dense(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Return x @ kernel + bias, an affine map of the last axis.

    y[o] = bias[o] + sum_i x[i] kernel[i, o]

    Args:
        x: (..., C_in). Its dtype is the compute dtype.
        kernel: (C_in, C_out), cast to the dtype of x.
        bias: (C_out,), or None.

    Returns:
        (..., C_out) of x's dtype.

    Raises:
        ValueError: shapes that do not fit together.
        TypeError: x or kernel of a dtype that is not floating.

    Source: agrees with `flax.linen.Dense`; PyTorch's `Linear` holds the kernel transposed.
    """
    x, kernel = floating("dense", "x", x), floating("dense", "kernel", kernel)
    expect(
        kernel.ndim == 2,
        "dense",
        "a kernel of shape (C_in, C_out)",
        kernel.shape,
        "Give the kernel two axes, inputs first.",
    )
    expect(
        x.ndim >= 1 and x.shape[-1] == kernel.shape[0],
        "dense",
        f"x of shape (..., {kernel.shape[0]}) for a kernel of shape {kernel.shape}",
        x.shape,
        "Flatten the images first with flatten, or match the kernel's first axis.",
    )
    y = x @ kernel.astype(x.dtype)
    return y if bias is None else y + spread(shaped("dense", "bias", bias, (kernel.shape[1],)), y)


def maxout(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Return the largest of several affine maps of the last axis; the gradient goes to the first that is largest.

    y[o] = max_p (bias[p, o] + sum_i x[i] kernel[p, i, o])

    Args:
        x: (..., C_in). Its dtype is the compute dtype.
        kernel: (pieces, C_in, C_out), cast to the dtype of x.
        bias: (pieces, C_out), or None.

    Returns:
        (..., C_out) of x's dtype.

    Raises:
        ValueError: shapes that do not fit together, no pieces.
        TypeError: x or kernel of a dtype that is not floating.

    Source: Goodfellow et al. 2013, section 3.
    """
    x, kernel = floating("maxout", "x", x), floating("maxout", "kernel", kernel)
    expect(
        kernel.ndim == 3 and kernel.shape[0] >= 1,
        "maxout",
        "a kernel of shape (pieces, C_in, C_out)",
        kernel.shape,
        "Give the kernel three axes, at least one piece first.",
    )
    pieces, inputs, features = kernel.shape
    expect(
        x.ndim >= 1 and x.shape[-1] == inputs,
        "maxout",
        f"x of shape (..., {inputs}) for a kernel of shape {kernel.shape}",
        x.shape,
        "Flatten the images first with flatten, or match the kernel's second axis.",
    )
    z = jnp.tensordot(x, kernel.astype(x.dtype), axes=(-1, 1))  # (..., pieces, C_out), in one product
    if bias is not None:
        z = z + spread(shaped("maxout", "bias", bias, (pieces, features)), z)
    return functools.reduce(_larger, (z[..., p, :] for p in range(pieces)))


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the larger, the first of two equal ones (`jnp.maximum` would share the gradient), NaN if either is."""
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def flatten(x: jax.Array) -> jax.Array:
    """Return each image as one vector: (..., H, W, C) -> (..., H * W * C), channels fastest.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating.

    Returns:
        (..., H * W * C) of x's dtype.

    Raises:
        ValueError: fewer than three axes.
        TypeError: x is not floating.

    Source: row-major order as in `flax`; PyTorch flattens (C, H, W), so its next kernel is permuted.
    """
    x = images("flatten", x)
    height, width, channels = x.shape[-3:]
    return x.reshape(*x.shape[:-3], height * width * channels)
