"""The class activation map without gradients: each channel is weighed by what the net sees through it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect_flag
from jaxcnn.explain.attribution.grad_cam import upsampled
from jaxcnn.explain.inner import expect_map, net_prepared
from jaxcnn.explain.score import Target, class_scores
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers.layer import Layer, Params, State, apply
from jaxcnn.surgery import activations
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["score_cam"]


def score_cam(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Target,
    *,
    at: str,
    upsample: bool = False,
    chunk: int | None = None,
) -> jax.Array:
    """Return the map of a layer whose channels are weighed by the score of the image seen through each of them.

    L[i, j] = max(sum_c w[c] A[i, j, c], 0), w = softmax over c of score(x * M[c]), M[c] the channel brought to x's size
    (bilinearly, as `grad_cam` does) and to [0, 1]. A channel that is the same everywhere shows nothing of the image.

    Args:
        net, params, state, x, target, at, upsample: as for `grad_cam`.
        chunk: channels at once, each with a copy of x; as many as the device computes well unless given.

    Returns:
        (..., h, w), or (..., H, W); not negative, not normalised.

    Raises:
        ValueError: a chunk below 1; else as for `grad_cam`.
        TypeError: x is not floating.

    Source: Wang et al. 2020, algorithm 1; agrees with `pytorch_grad_cam.ScoreCAM` where the layer has x's size (it
    enlarges smaller ones with aligned corners; the paper's own code does not).
    """
    x, target = net_prepared("score_cam", net, params, state, x, target)
    expect_map("score_cam", net, params, state, x, at)
    upsample, chunk = expect_flag("score_cam", "upsample", upsample), chunk_of("score_cam", chunk, x)
    return expect_finite("score_cam", "the map", _run(net, params, state, x, target, at, upsample, chunk))


@functools.partial(jax.jit, static_argnames=("net", "at", "upsample", "chunk"))
def _run(net: Layer, params, state, x: jax.Array, target: Any, at: str, upsample: bool, chunk: int) -> jax.Array:
    size = (x.shape[-3], x.shape[-2])
    _, inside = activations(net, params, state, x, [at])
    channels = jnp.moveaxis(inside[at], -1, 0)

    def seen(channel: jax.Array) -> jax.Array:
        mask = upsampled(channel, size)
        low, high = (bound(mask, (-2, -1), keepdims=True) for bound in (jnp.min, jnp.max))
        mask = (mask - low) / jnp.where(high > low, high - low, 1)
        return class_scores(apply(net, params, state, x * mask[..., None], train=False)[0], target)

    scores = over_variants(seen, channels, chunk)
    weights = jax.nn.softmax(scores, axis=0)
    maps = F.relu(jnp.sum(channels * weights[..., None, None], 0))
    return upsampled(maps, size) if upsample else maps
