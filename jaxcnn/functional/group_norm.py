"""Normalization of each example by its own mean and variance: over its channels, groups of them, or its pixels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.checking import expect, floating, is_int, scalar, shaped, shown
from jaxcnn.functional.spread import along_channels
from jaxcnn.functional.window import images

__all__ = ["group_norm", "instance_norm", "layer_norm"]


def layer_norm(
    x: jax.Array, scale: jax.Array | None = None, bias: jax.Array | None = None, *, eps: float = 1e-6
) -> jax.Array:
    """Return x with mean 0 and variance 1 along its last axis, at every pixel on its own.

    y = (x - mean) / sqrt(var + eps) * scale + bias, mean and var over the channels.

    Args:
        x: (..., C), floating. Statistics are computed in float32, in two passes.
        scale: (C,) float32, or None for 1.
        bias: (C,) float32, or None for 0.
        eps: added to the variance, >= 0; PyTorch defaults to 1e-5.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: shapes that do not match the channels, a negative eps.
        TypeError: x is not floating.

    Source: Ba et al. 2016, equation 4, per pixel as in Liu et al. 2022 (ConvNeXt); agrees with `flax.linen.LayerNorm`
    and `torch.nn.functional.layer_norm`.
    """
    x = floating("layer_norm", "x", x)
    expect(x.ndim >= 1, "layer_norm", "x of shape (..., C)", x.shape, "Add a channel axis, last.")
    return _normalised("layer_norm", x, lambda v: jnp.mean(v, axis=-1, keepdims=True), scale, bias, eps)


def group_norm(
    x: jax.Array, scale: jax.Array | None = None, bias: jax.Array | None = None, *, groups: int = 32, eps: float = 1e-6
) -> jax.Array:
    """Return each image with mean 0 and variance 1 within each group of consecutive channels.

    y = (x - mean) / sqrt(var + eps) * scale + bias, mean and var over the pixels and the C / groups channels of a
    group, of each image on its own.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating. Statistics are computed in float32, in two passes.
        scale: (C,) float32, or None for 1.
        bias: (C,) float32, or None for 0.
        groups: a divisor of C. 1 normalises the whole image; C is `instance_norm`.
        eps: added to the variance, >= 0; PyTorch defaults to 1e-5.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: wrong rank, groups that do not divide C, shapes that do not match the channels, a negative eps.
        TypeError: x is not floating.

    Source: Wu and He 2018, equation 7; agrees with `flax.linen.GroupNorm` on (N, H, W, C), and with
    `torch.nn.functional.group_norm`.
    """
    x = images("group_norm", x)
    channels = x.shape[-1]
    expect_groups("group_norm", groups, channels)
    groups = int(groups)

    def mean_of(v):
        # Channel by channel first: much faster on CPUs than over pixels and channels at once.
        each = jnp.mean(v, axis=(-3, -2), keepdims=True)
        each = each.reshape(*each.shape[:-1], groups, channels // groups)
        return jnp.repeat(jnp.mean(each, axis=-1), channels // groups, axis=-1)

    return _normalised("group_norm", x, mean_of, scale, bias, eps)


def instance_norm(
    x: jax.Array, scale: jax.Array | None = None, bias: jax.Array | None = None, *, eps: float = 1e-6
) -> jax.Array:
    """Return each image with mean 0 and variance 1 in each of its channels.

    y = (x - mean) / sqrt(var + eps) * scale + bias, mean and var over the pixels of one channel of one image.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating. Statistics are computed in float32, in two passes.
        scale: (C,) float32, or None for 1.
        bias: (C,) float32, or None for 0.
        eps: added to the variance, >= 0; PyTorch defaults to 1e-5.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: wrong rank, shapes that do not match the channels, a negative eps.
        TypeError: x is not floating.

    Source: Ulyanov et al. 2016, equation 2; agrees with `flax.linen.InstanceNorm` on (N, H, W, C), and with
    `torch.nn.functional.instance_norm`.
    """
    x = images("instance_norm", x)
    return _normalised("instance_norm", x, lambda v: jnp.mean(v, axis=(-3, -2), keepdims=True), scale, bias, eps)


def expect_groups(where: str, groups: int, channels: int) -> None:
    """Raise `ValueError` unless the channels fall into that many groups of one size."""
    if not (is_int(groups, 1) and channels % int(groups) == 0):
        divisors = ", ".join(str(d) for d in range(1, channels + 1) if channels % d == 0)
        fix = f"Pass groups as one of {divisors}: the default, 32, does not suit all."
        expect(False, where, f"groups that divide the {channels} channels", shown(groups), fix)


def standardised(where: str, x: jax.Array, mean_of: Callable[[jax.Array], jax.Array], eps: float) -> jax.Array:
    """Return (x - mean) / sqrt(var + eps) in float32 or wider, the mean of anything being `mean_of` it."""
    eps = scalar(where, "eps >= 0", eps, lambda e: e >= 0, "It keeps the variance from zero: 1e-5 is usual.")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = wide - mean_of(wide)
    return centred * lax.rsqrt(mean_of(jnp.square(centred)) + eps)


def _normalised(where: str, x: jax.Array, mean_of, scale, bias, eps: float) -> jax.Array:
    scale = None if scale is None else shaped(where, "scale", scale, x.shape[-1:])
    bias = None if bias is None else shaped(where, "bias", bias, x.shape[-1:])
    y = standardised(where, x, mean_of, eps)
    y = y if scale is None else y * along_channels(scale, y)
    return (y if bias is None else y + along_channels(bias, y)).astype(x.dtype)
