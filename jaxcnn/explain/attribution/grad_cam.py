"""Class activation maps by gradients: which places of a layer speak for a class."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect_flag
from jaxcnn.explain.inner import expect_map, inner_gradients, net_prepared
from jaxcnn.explain.score import Target
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "upsampled"]

Combine = Callable[[jax.Array, jax.Array], jax.Array]


def grad_cam(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Target,
    *,
    at: str,
    upsample: bool = False,
) -> jax.Array:
    """Return the map of a layer whose channels are weighed by the mean of the score's gradient.

    L[i, j] = max(sum_c w[c] A[i, j, c], 0), w[c] = mean_{i, j} dscore / dA[i, j, c], A what the layer gives.

    Args:
        net, params, state: the trained net.
        x: images (..., H, W, C), floating.
        target: whose score: a class for all images, one for each, or a function of the outputs -> scores (...).
        at: the path of a layer that gives a map, as a rule the last one before pooling and flattening.
        upsample: bring the map to x's height and width, bilinearly, pixel centres half a pixel from the edge (that is
            PyTorch's `interpolate(mode="bilinear", align_corners=False)`, and OpenCV's resize).

    Returns:
        (..., h, w), or (..., H, W); not negative, not normalised.

    Raises:
        ValueError: an unknown layer (the message lists some), one without a map, a target out of range, a
            map that is not finite.
        TypeError: x is not floating.

    Source: Selvaraju et al. 2017, equations 1 and 2; agrees with `pytorch_grad_cam.GradCAM` before its normalisation,
    and with `captum.attr.LayerGradCam(relu_attributions=True)`.
    """
    return _class_map("grad_cam", _by_mean_gradient, net, params, state, x, target, at, upsample)


def grad_cam_plus_plus(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Target,
    *,
    at: str,
    upsample: bool = False,
) -> jax.Array:
    """Return the map of a layer whose channels are weighed by their positive gradients, small objects like large ones.

    L[i, j] = max(sum_c w[c] A[i, j, c], 0), w[c] = sum_{i, j} max(g[i, j, c], 0) / (2 + g[i, j, c] S[c]),
    g = dscore / dA and S[c] = sum_{i, j} A[i, j, c]. Unlike Grad-CAM's, the map depends on the unit of the score.

    Args:
        net, params, state, x, target, at, upsample: as for `grad_cam`.

    Returns:
        (..., h, w), or (..., H, W); not negative, not normalised.

    Raises:
        ValueError, TypeError: as for `grad_cam`.

    Source: Chattopadhay et al. 2018, equations 5, 7 and 19, the score's exponential being what is explained; agrees
    with `pytorch_grad_cam.GradCAMPlusPlus`, except where g^2 is as small as the 1e-6 that is added there.
    """
    return _class_map("grad_cam_plus_plus", _by_positive_gradient, net, params, state, x, target, at, upsample)


def hires_cam(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Target,
    *,
    at: str,
    upsample: bool = False,
) -> jax.Array:
    """Return the map of a layer weighed by the score's gradient place by place: what each place adds to the score.

    L[i, j] = max(sum_c A[i, j, c] dscore / dA[i, j, c], 0). Where global average pooling follows, it is Grad-CAM's map.

    Args:
        net, params, state, x, target, at, upsample: as for `grad_cam`.

    Returns:
        (..., h, w), or (..., H, W); not negative, not normalised.

    Raises:
        ValueError, TypeError: as for `grad_cam`.

    Source: Draelos and Carin 2020, section 3.2; agrees with `pytorch_grad_cam.HiResCAM`.
    """
    return _class_map("hires_cam", _by_gradient, net, params, state, x, target, at, upsample)


def layer_cam(
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    target: Target,
    *,
    at: str,
    upsample: bool = False,
) -> jax.Array:
    """Return the map of a layer weighed by the positive part of the score's gradient, place by place.

    L[i, j] = max(sum_c A[i, j, c] max(dscore / dA[i, j, c], 0), 0): fine maps of early layers, too.

    Args:
        net, params, state, x, target, at, upsample: as for `grad_cam`.

    Returns:
        (..., h, w), or (..., H, W); not negative, not normalised.

    Raises:
        ValueError, TypeError: as for `grad_cam`.

    Source: Jiang et al. 2021, equations 5 to 7; agrees with `pytorch_grad_cam.LayerCAM`.
    """
    return _class_map("layer_cam", _by_place, net, params, state, x, target, at, upsample)


def upsampled(maps: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Return maps (..., h, w) brought to a size by bilinear interpolation, as `grad_cam` says."""
    return jax.image.resize(maps, (*maps.shape[:-2], *size), "bilinear", antialias=False)


def _class_map(
    where: str, combine: Combine, net: Layer, params: Params, state: State, x: Any, target: Any, at: str, upsample: bool
) -> jax.Array:
    x, target = net_prepared(where, net, params, state, x, target)
    expect_map(where, net, params, state, x, at)
    upsample = expect_flag(where, "upsample", upsample)
    return expect_finite(where, "the map", _run(combine, net, params, state, x, target, at, upsample))


@functools.partial(jax.jit, static_argnames=("combine", "net", "at", "upsample"))
def _run(combine: Combine, net: Layer, params, state, x: jax.Array, target: Any, at: str, upsample: bool) -> jax.Array:
    _, inside, slopes = inner_gradients(net, params, state, x, target, [at])
    maps = F.relu(combine(inside[at], slopes[at]))
    return upsampled(maps, (x.shape[-3], x.shape[-2])) if upsample else maps


def _by_mean_gradient(inside: jax.Array, slope: jax.Array) -> jax.Array:
    return jnp.sum(inside * jnp.mean(slope, (-3, -2), keepdims=True), -1)


def _by_positive_gradient(inside: jax.Array, slope: jax.Array) -> jax.Array:
    below = 2 + slope * jnp.sum(inside, (-3, -2), keepdims=True)
    share = jnp.where(below == 0, 0, F.relu(slope) / jnp.where(below == 0, 1, below))
    return jnp.sum(inside * jnp.sum(share, (-3, -2), keepdims=True), -1)


def _by_gradient(inside: jax.Array, slope: jax.Array) -> jax.Array:
    return jnp.sum(inside * slope, -1)


def _by_place(inside: jax.Array, slope: jax.Array) -> jax.Array:
    return jnp.sum(inside * F.relu(slope), -1)
