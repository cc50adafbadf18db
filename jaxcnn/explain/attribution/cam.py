"""The class activation map of a net that ends in global average pooling and one dense layer."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_flag
from jaxcnn.explain.attribution.grad_cam import upsampled
from jaxcnn.explain.inner import inner_gradients, net_prepared
from jaxcnn.explain.score import Target
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers import Dense, Dropout, GlobalAvgPool, Sequential
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.layer import Layer, Module, Params, State
from jaxcnn.surgery.tree import unwrapped

__all__ = ["cam"]


def cam(net: Layer, params: Params, state: State, x: jax.Array, target: Target, *, upsample: bool = False) -> jax.Array:
    """Return the map before the pooling with its channels weighed as the class weighs their means.

    L[i, j] = max(sum_c A[i, j, c] W[c, target], 0) for logits = mean_{i, j} A[i, j] W + b: h w times what `grad_cam`
    gives there, at the price of a forward pass, and for such nets alone.

    Args:
        net, params, state: the trained net, whose last two layers are `GlobalAvgPool()` and `Dense(classes)`, with
            dropout in between or without.
        x, target, upsample: as for `grad_cam`.

    Returns:
        (..., h, w), or (..., H, W); not negative, not normalised.

    Raises:
        ValueError: a net that ends otherwise, a target out of range, a map that is not finite.
        TypeError: x is not floating.

    Source: Zhou et al. 2016, equation 2, whose map also has the negative places.
    """
    x, target = net_prepared("cam", net, params, state, x, target)
    row = [(path, unwrapped(layer)) for path, layer in _in_a_row(net, "")]
    last = [type(layer) for _, layer in row[-2:]]
    fix = "Use grad_cam(..., at=...), which takes any net."
    what = "a net that ends in layers, GlobalAvgPool, Dense"
    ends = f"one that ends in {', '.join(kind.__name__ for kind in last)}" if len(row) > 2 else "one without them"
    expect(len(row) > 2 and last == [GlobalAvgPool, Dense], "cam", what, ends, fix)
    upsample = expect_flag("cam", "upsample", upsample)
    return expect_finite("cam", "the map", _run(net, params, state, x, target, row[-3][0], row[-2][0], upsample))


@functools.partial(jax.jit, static_argnames=("net", "before", "pool", "upsample"))
def _run(net: Layer, params, state, x: jax.Array, target: Any, before: str, pool: str, upsample: bool) -> jax.Array:
    # The gradient at the means is the weight of the class, or what a function of the outputs makes of the weights.
    _, inside, slopes = inner_gradients(net, params, state, x, target, [before, pool])
    maps = F.relu(jnp.sum(inside[before] * slopes[pool][..., None, None, :], -1))
    return upsampled(maps, (x.shape[-3], x.shape[-2])) if upsample else maps


def _in_a_row(module: Module, prefix: str) -> Iterator[tuple[str, Module]]:
    """Yield path and layer of what is applied one after another, without what does nothing in evaluation."""
    inner = unwrapped(module)
    inner = inner.main if isinstance(inner, Auxiliary) else inner
    if isinstance(inner, Sequential):
        for name, child in inner.layers.items():
            yield from _in_a_row(child, f"{prefix}{name}/")
    elif not isinstance(inner, Dropout):
        yield prefix[:-1], module
