"""Pooling, with all padding written out."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn.functional.window import pool_windows
from jaxcnn.interop.onnx.emitters.convolution import corners
from jaxcnn.interop.onnx.site import Site, Value, register, size_of
from jaxcnn.layers.adaptive_pooling import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    GlobalAvgPool,
    GlobalMaxPool,
    SpatialPyramidPool,
)
from jaxcnn.layers.linear import Flatten
from jaxcnn.layers.pooling import AvgPool, LpPool, MaxPool

__all__ = ["window_means"]


def _windows(site: Site, x: Value) -> tuple[Any, Any, Any]:
    pool = site.layer
    return pool_windows("export", size_of(x), pool.window, pool.stride, pool.padding, pool.ceil_mode)


def _pooled(site: Site, kind: str, x: Value, size: Any, step: Any, pads: Any, **attributes: Any) -> Value:
    return site.op(kind, x, kernel_shape=size, strides=step, pads=corners(pads), **attributes)


@register(MaxPool)
def _max_pool(site: Site, x: Value) -> Value:
    return _pooled(site, "MaxPool", x, *_windows(site, x))


@register(AvgPool)
def _avg_pool(site: Site, x: Value) -> Value:
    pool, (size, step, pads) = site.layer, _windows(site, x)
    padded = pool.padding != "VALID" and max(map(max, pads)) > 0
    counted = pool.count_include_pad and padded
    y = _pooled(site, "AveragePool", x, size, step, pads, count_include_pad=int(counted))
    # A ragged window beside counted padding counts less than all of its pixels.
    ones = jnp.ones((*size_of(x), 1))
    ours = pool.apply({}, {}, ones, train=False)[0]
    theirs = F.avg_pool(ones, size, stride=step, padding=pads, count_include_pad=counted)
    factor = np.asarray(ours / theirs)[..., 0]
    return y if np.allclose(factor, 1) else site.op("Mul", y, site.array("factor", factor))


@register(LpPool)
def _lp_pool(site: Site, x: Value) -> Value:
    p, windows = site.layer.p, _windows(site, x)
    if p.is_integer():
        return _pooled(site, "LpPool", x, *windows, p=int(p))
    powers = site.op("Pow", site.op("Abs", x), site.array("p", p))
    means = _pooled(site, "AveragePool", powers, *windows, count_include_pad=1)
    sums = site.op("Mul", means, site.array("pixels", float(np.prod(windows[0]))))
    return site.op("Pow", sums, site.array("root", 1 / p))


@register(GlobalAvgPool, F.global_avg_pool)
def _global_avg_pool(site: Site, x: Value) -> Value:
    return site.op("Flatten", site.op("GlobalAveragePool", x), axis=1)


@register(GlobalMaxPool, F.global_max_pool)
def _global_max_pool(site: Site, x: Value) -> Value:
    return site.op("Flatten", site.op("GlobalMaxPool", x), axis=1)


@register(AdaptiveAvgPool)
def _adaptive_avg_pool(site: Site, x: Value) -> Value:
    size, found = site.layer.size, size_of(x)
    if size == (1, 1):
        return site.op("GlobalAveragePool", x)
    if all(n % s == 0 for n, s in zip(found, size, strict=True)):
        return site.through(AvgPool(tuple(n // s for n, s in zip(found, size, strict=True))), x)
    # The mean over windows that overlap is a matrix for each axis.
    rows, columns = (window_means(n, s) for n, s in zip(found, size, strict=True))
    return site.op("MatMul", site.op("MatMul", site.array("rows", rows), x), site.array("columns", columns.T))


def window_means(n: int, size: int) -> np.ndarray:
    """Return the matrix (size, n) that takes the means of the windows."""
    return np.asarray(F.adaptive_avg_pool(jnp.eye(n)[:, :, None, None], (size, 1)))[:, :, 0, 0].T


@register(AdaptiveMaxPool)
def _adaptive_max_pool(site: Site, x: Value) -> Value:
    if site.layer.size == (1, 1):
        return site.op("GlobalMaxPool", x)
    tiles, y = [], x
    for axis, (n, size) in enumerate(zip(size_of(x), site.layer.size, strict=True)):
        start, stop = (
            bound[:, None] for bound in (np.arange(size) * n // size, -(-np.arange(1, size + 1) * n // size))
        )
        longest = int((stop - start).max())
        tiles.append(longest)
        if n % size:  # the windows side by side, the shorter ones filled up with their last pixel
            pixels = np.minimum(start + np.arange(longest), stop - 1)
            y = site.op("Gather", y, site.array("pixels", pixels.ravel()), axis=axis + 2)
    return site.op("MaxPool", y, kernel_shape=tiles, strides=tiles)


@register(SpatialPyramidPool)
def _spatial_pyramid_pool(site: Site, x: Value) -> Value:
    pool = AdaptiveAvgPool if site.layer.average else AdaptiveMaxPool
    levels = [site.through(Flatten(), site.through(pool(level), x)) for level in site.layer.levels]
    return site.op("Concat", *levels, axis=1)


for _function, _layer in {
    F.max_pool: MaxPool(),
    F.avg_pool: AvgPool(),
    F.lp_pool: LpPool(),
    F.spatial_pyramid_pool: SpatialPyramidPool(),
}.items():
    register(_function)(lambda site, x, layer=_layer: site.through(layer, x))
