"""Normalization: activations with their mean and variance made standard."""

from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.checking import expect, floating, shaped

__all__ = ["BatchStats", "batch_norm"]


class BatchStats(NamedTuple):
    """Running mean and (biased) variance of each channel, float32, shape (C,) each."""

    mean: jax.Array
    var: jax.Array


def batch_norm(
    x: jax.Array,
    scale: jax.Array | None,
    bias: jax.Array | None,
    stats: BatchStats,
    *,
    train: bool,
    decay: float = 0.9,
    eps: float = 1e-5,
    axis_name: str | tuple[str, ...] | None = None,
    mask: jax.Array | None = None,
) -> tuple[jax.Array, BatchStats]:
    """Return the normalised activations and the running statistics that belong to the next step.

    y = (x - mean) / sqrt(var + eps) * scale + bias, with mean and var those of the batch (over all axes but the
    last) when `train`, else the running ones. When `train`, stats <- decay * stats + (1 - decay) * batch's.

    Args:
        x: (..., C), floating. Statistics are computed in float32 in two passes: the variance is never negative.
        scale: (C,) float32, or None for 1.
        bias: (C,) float32, or None for 0.
        stats: running `BatchStats`, float32.
        train: whether to use the batch's statistics and to move the running ones.
        decay: the fraction of the running statistics that is kept, in [0, 1]; PyTorch's `momentum` is 1 - decay.
        eps: added to the variance.
        axis_name: named axes of `vmap` or `shard_map` over which the statistics are taken too.
        mask: bool, shape of x's first axes (for example (N,)): only where True counts for the statistics.

    Returns:
        y of x's shape and dtype, and the new `BatchStats` (the given ones, untouched, when not `train`).

    Raises:
        ValueError: shapes that do not match the channels, decay outside [0, 1].
        TypeError: x is not floating.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2; agrees with `flax.linen.BatchNorm`. The running variance is
    the biased one, as there; PyTorch keeps n / (n - 1) times it.
    """
    x = floating("batch_norm", "x", x)
    expect(x.ndim >= 1, "batch_norm", "x of shape (..., C)", x.shape, "Add a channel axis, last.")
    channels = x.shape[-1:]
    expect(
        isinstance(stats, BatchStats),
        "batch_norm",
        "stats as a BatchStats(mean, var)",
        type(stats).__name__,
        "Start from BatchStats(jnp.zeros(C), jnp.ones(C)).",
        TypeError,
    )
    stats = BatchStats(*(shaped("batch_norm", f"stats.{n}", v, channels) for n, v in stats._asdict().items()))
    if isinstance(decay, Real):
        expect(0 <= decay <= 1, "batch_norm", "decay in [0, 1]", decay, "PyTorch's momentum is 1 - decay.")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean, var = stats
    if train:
        mean, var = _moments(wide, axis_name, mask)
        moved = (decay * old + (1 - decay) * new for old, new in zip(stats, (mean, var), strict=True))
        stats = BatchStats(*(new.astype(old.dtype) for old, new in zip(stats, moved, strict=True)))
    factor = lax.rsqrt(var + eps)
    if scale is not None:
        factor = factor * shaped("batch_norm", "scale", scale, channels)
    y = (wide - mean) * factor
    if bias is not None:
        y = y + shaped("batch_norm", "bias", bias, channels)
    return y.astype(x.dtype), stats


def _moments(x: jax.Array, axis_name, mask: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance over all axes but the last, and over the named ones."""
    axes = tuple(range(x.ndim - 1))
    if mask is None:
        expect(x.size > 0, "batch_norm", "at least one example", f"x of shape {x.shape}", "Skip empty batches.")

        def mean_of(v):
            mean = jnp.mean(v, axis=axes)
            return mean if axis_name is None else lax.pmean(mean, axis_name)

    else:
        mask = jnp.asarray(mask)
        expect(
            mask.ndim < x.ndim and mask.shape == x.shape[: mask.ndim],
            "batch_norm",
            f"a mask whose shape is the beginning of {x.shape[:-1]}",
            mask.shape,
            "Pass one bool per example, shape (N,).",
        )
        weight = mask.astype(x.dtype).reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
        count = jnp.sum(jnp.broadcast_to(weight, (*x.shape[:-1], 1)))
        count = count if axis_name is None else lax.psum(count, axis_name)

        def mean_of(v):
            total = jnp.sum(jnp.where(weight > 0, v, 0.0), axis=axes)
            total = total if axis_name is None else lax.psum(total, axis_name)
            return total / jnp.maximum(count, 1)

    mean = mean_of(x)
    return mean, mean_of(jnp.square(x - mean))
