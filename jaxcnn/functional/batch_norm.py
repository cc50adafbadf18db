"""Batch normalization: activations with the mean and the variance of their batch made standard."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.checking import array, expect, expect_count, expect_flag, expect_train, floating, scalar, shaped, shown
from jaxcnn.functional.spread import along_channels

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
    groups: int = 1,
    fast_variance: bool = False,
) -> tuple[jax.Array, BatchStats]:
    """Return the normalised activations and the running statistics that belong to the next step.

    y = (x - mean) / sqrt(var + eps) * scale + bias, with mean and var those of the batch (over all axes but the
    last) when `train`, else the running ones. When `train`, stats <- decay * stats + (1 - decay) * batch's.

    Args:
        x: (..., C), floating. Statistics are computed in float32; the variance is never negative.
        scale: (C,) float32, or None for 1.
        bias: (C,) float32, or None for 0.
        stats: running `BatchStats`, float32.
        train: whether to use the batch's statistics and to move the running ones; a Python bool, static under jit.
        decay: the fraction of the running statistics that is kept, in [0, 1]; PyTorch's `momentum` is 1 - decay.
        eps: added to the variance.
        axis_name: named axes of `vmap` or `shard_map` over which the statistics are taken too.
        mask: bool, shape of x's first axes (for example (N,)): only where True counts for the statistics. A batch of
            which nothing counts leaves the running ones as they were.
        groups: when `train`, the first axis is split into this many equal, consecutive parts, each normalised by its
            own mean and variance ("ghost batches"). The running statistics then move towards the mean over the groups
            of their means, and of their variances (the spread of the means between groups does not enter).
        fast_variance: when `train`, read x once for both moments: var = E[(x - a)^2] - E[x - a]^2, a the mean of each
            group's first example. Its relative error is below 1e-6 times the examples in a group, and near float32's
            own unless that first example is unlike all the others; the default, two passes, is exact. With a mask
            there are always two passes.

    Returns:
        y of x's shape and dtype, and the new `BatchStats` (the given ones, untouched, when not `train`).

    Raises:
        ValueError: shapes that do not match the channels, decay outside [0, 1], groups that do not divide the first
            axis, groups with a mask, a negative eps.
        TypeError: x is not floating, a mask of other than bools, train that is no bool or traced.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2; agrees with `flax.linen.BatchNorm`. The running variance is
    the biased one, as there; PyTorch keeps n / (n - 1) times it. Groups: Hoffer et al. 2017, algorithm 1, whose
    running statistics move once a group, one after another.
    """
    expect_train("batch_norm", train)
    x = floating("batch_norm", "x", x)
    expect(x.ndim >= 1, "batch_norm", "x of shape (..., C)", x.shape, "Add a channel axis, last.")
    channels = x.shape[-1:]
    expect(
        isinstance(stats, BatchStats),
        "batch_norm",
        "stats as a BatchStats(mean, var)",
        stats,
        "Start from BatchStats(jnp.zeros(C), jnp.ones(C)).",
        TypeError,
    )
    stats = BatchStats(*(shaped("batch_norm", f"stats.{n}", v, channels) for n, v in stats._asdict().items()))
    scale = None if scale is None else shaped("batch_norm", "scale", scale, channels)
    bias = None if bias is None else shaped("batch_norm", "bias", bias, channels)
    fix = "PyTorch's momentum is 1 - decay."
    decay = scalar("batch_norm", "decay in [0, 1]", decay, lambda d: 0 <= d <= 1, fix)
    eps = scalar("batch_norm", "eps >= 0", eps, lambda e: e >= 0, "It keeps the variance from zero: 1e-5 is usual.")
    axis_name = axis_names("batch_norm", axis_name)
    fast_variance = expect_flag("batch_norm", "fast_variance", fast_variance)
    groups = _checked_groups(groups, x, mask, train)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if not train:
        y = (wide - along_channels(stats.mean, x)) * along_channels(_times(lax.rsqrt(stats.var + eps), scale), x)
        return (y if bias is None else y + along_channels(bias, x)).astype(x.dtype), stats
    if mask is None:
        expect(x.size > 0, "batch_norm", "at least one example", f"x of shape {x.shape}", "Skip empty batches.")
    else:
        mask = array("batch_norm", "mask", mask)
        fix = "Compare first: weights > 0."
        expect(mask.dtype == jnp.bool, "batch_norm", "a mask of bools", mask.dtype, fix, TypeError)
        expect(
            mask.ndim < x.ndim and mask.shape == x.shape[: mask.ndim],
            "batch_norm",
            f"a mask whose shape is the beginning of {x.shape[:-1]}",
            mask.shape,
            "Pass one bool per example, shape (N,).",
        )
    _expect_mapped(axis_name)
    parts = wide.reshape(groups, x.shape[0] // groups, *x.shape[1:]) if groups > 1 else wide[None]
    weight = None if mask is None else mask.astype(wide.dtype).reshape(1, *mask.shape, *(1,) * (x.ndim - mask.ndim))
    scale, bias = (None if p is None else along_channels(p, parts) for p in (scale, bias))
    y, *moments = _standardise(parts, scale, bias, weight, jnp.asarray(eps, wide.dtype), axis_name, fast_variance)
    kept: float | jax.Array = decay
    if weight is not None:
        some = jnp.any(weight > 0)
        some = some if axis_name is None else lax.pmax(some.astype(wide.dtype), axis_name) > 0
        kept = jnp.where(some, decay, 1.0)
    new = (jnp.mean(moment, axis=tuple(range(parts.ndim - 1))) for moment in moments)
    moved = (kept * old + (1 - kept) * now for old, now in zip(stats, new, strict=True))
    return y.reshape(x.shape).astype(x.dtype), BatchStats(
        *(now.astype(old.dtype) for old, now in zip(stats, moved, strict=True))
    )


def axis_names(where: str, axis_name: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    """Return `axis_name` as a name, a tuple of names or None."""
    if axis_name is None or isinstance(axis_name, str):
        return axis_name
    ok = isinstance(axis_name, Sequence) and len(axis_name) > 0 and all(isinstance(name, str) for name in axis_name)
    expect(ok, where, "axis_name as a name or a tuple of names", shown(axis_name), 'Pass "batch", say.')
    return tuple(axis_name)


def _expect_mapped(axis_name: str | tuple[str, ...] | None) -> None:
    names = axis_name if isinstance(axis_name, tuple) else () if axis_name is None else (axis_name,)
    for name in names:
        try:
            lax.axis_size(name)
        except NameError:
            fix = f"Call it inside jax.vmap(..., axis_name={name!r}) or jax.shard_map."
            expect(False, "batch_norm", "axis_name as an axis that is mapped over", repr(name), fix)


def _checked_groups(groups: int, x: jax.Array, mask: jax.Array | None, train: bool) -> int:
    groups = expect_count("batch_norm", "groups", groups)
    if groups == 1:
        return groups
    expect(
        mask is None,
        "batch_norm",
        "no mask with groups",
        f"a mask and groups={groups}",
        "Leave out one of the two: a group that the mask empties has no statistics.",
    )
    expect(
        not train or (x.ndim > 1 and x.shape[0] % groups == 0),
        "batch_norm",
        f"a first axis that groups={groups} divide",
        f"x of shape {x.shape}",
        "Choose a divisor of the batch's size.",
    )
    return groups


@functools.partial(jax.custom_jvp, nondiff_argnums=(5, 6))
def _standardise(x, scale, bias, weight, eps: jax.Array, axis_name, fast: bool):
    """Return x with the mean and variance of each group and channel made standard, and both moments.

    Args:
        x: (groups, ..., C), float32 or wider.
        scale, bias: (1, ..., 1, C) or None.
        weight: None, or 1 where x counts and 0 where not, to be broadcast against x.
        eps: added to the variance.
        axis_name: named axes that the moments are taken over too.
        fast: one pass, as `batch_norm` says.

    Returns:
        y of x's shape; mean and biased variance >= 0, (groups, 1, ..., 1, C): of no examples at all both are 0.
    """
    shifted, first, mean, var = _moments(x, weight, axis_name, fast)
    return _affine(shifted, first, lax.rsqrt(var + eps), scale, bias), mean, var


@_standardise.defjvp
def _standardise_jvp(axis_name, fast, primals, tangents):
    """Return value and tangent; the transpose of this needs two sums over the batch and one more pass.

    With z = (x - mean) / sd and m the mean over the batch: dz = (dx - m(dx) - z m(z dx)) / sd. What does not count and
    is not finite has the tangent of the mean: 0 times infinity would be in the gradient of all else.
    """
    x, scale, bias, weight, eps = primals
    dx, dscale, dbias, _, deps = tangents
    shifted, first, mean, var = _moments(x, weight, axis_name, fast)
    seen = shifted if weight is None else jnp.where((weight > 0) | jnp.isfinite(shifted), shifted, 0)
    inverse = lax.rsqrt(var + eps)
    factor = _times(inverse, scale)
    dmean = _mean(dx, weight, axis_name)
    half_dvar = _mean(seen * dx, weight, axis_name) - first * dmean
    slope, offset = -factor * inverse * inverse * (half_dvar + deps / 2), -factor * dmean
    if dscale is not None:
        slope = slope + inverse * dscale
    if dbias is not None:
        offset = offset + dbias
    return (_affine(shifted, first, inverse, scale, bias), mean, var), (
        factor * dx + slope * seen + (offset - slope * first),
        dmean,
        2 * half_dvar,
    )


def _moments(x, weight, axis_name, fast: bool) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return x - a, the mean of that, and mean and variance of x; arguments as for `_standardise`.

    a lies near the mean: it is the mean as float32 has it, which is some roundings off, or that of the first example.
    x - a has all digits of x's deviations, so its mean is what x is still off by.
    """
    # Neither moment depends on where it is taken about, so `about` needs no gradient. With n examples in a group, the
    # squared distance of the first one's mean from that of all is at most n - 1 variances: what cancels in the
    # difference below is then at most n times what remains.
    once = fast and weight is None
    about = lax.stop_gradient(_mean(x[:, :1] if once and x.ndim > 2 else x, weight, axis_name))
    shifted = x - about if once else _kept(x - about)
    first, second = (_mean(v, weight, axis_name) for v in (shifted, jnp.square(shifted)))
    return shifted, first, about + first, jnp.maximum(second - jnp.square(first), 0)


def _mean(x: jax.Array, weight: jax.Array | None, axis_name) -> jax.Array:
    """Return the mean of each group and channel, (groups, 1, ..., 1, C), where the weight is 1."""
    axes = tuple(range(1, x.ndim - 1))
    if weight is None:
        mean = jnp.mean(x, axis=axes, keepdims=True)
        return mean if axis_name is None else lax.pmean(mean, axis_name)
    total = jnp.sum(jnp.where(weight > 0, x, 0.0), axis=axes, keepdims=True)
    count = jnp.sum(jnp.broadcast_to(weight, (*x.shape[:-1], 1)))
    total, count = (total, count) if axis_name is None else lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1)


def _affine(shifted, first, inverse, scale: jax.Array | None, bias: jax.Array | None) -> jax.Array:
    """Return (shifted - first) * inverse * scale + bias, with one product and one sum for each number."""
    factor = _times(inverse, scale)
    offset = -first * factor
    return shifted * factor + (offset if bias is None else bias + offset)


def _times(inverse: jax.Array, scale: jax.Array | None) -> jax.Array:
    return inverse if scale is None else inverse * scale


def _kept(x: jax.Array) -> jax.Array:
    """Return x, on CPU written down once: its sums there read an array from memory and compute nothing on the way."""
    return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)
