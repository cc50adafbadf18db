"""Numbers that stand for a mask: what explanations are about, and what attacks climb.

maps = explain.grad_cam(net, params, state, x, segmentation.class_score(label, region), at="stage4")
there = attack.binary(logits_fn, segmentation.mask_margin(wanted))
attack.pgd(key, there, x, 1, epsilon=8 / 255)  # images whose mask is nearer to the wanted one
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import array, expect, floating, integral
from jaxcnn.classifier import classes

__all__ = ["class_score", "mask_margin"]

Score = Callable[[jax.Array], jax.Array]


def class_score(label: int | jax.Array | np.ndarray, region: jax.Array | np.ndarray | None = None) -> Score:
    """Return the score of a class over a region, a function of outputs: what the methods of `explain` take as target.

    s = sum_{p in region} z_p[label]

    It falls when the logits of all classes fall, so no value of it says that the class is gone: attacks climb
    `mask_margin`.

    Args:
        label: a class, or integers (...), one an image.
        region: bool or integers (..., H, W), 0 outside of the region; the whole image unless given. One pixel alone
            asks why it has its class.

    Returns:
        logits (..., H, W, classes) -> (...), one an image; compiled once for all classes and regions of one shape.

    Raises:
        TypeError, from the call too: labels that are no integers, a region of floats, logits that are not floating.
        ValueError, from the call: a class or a region that does not fit the logits.

    Source: Vinogradova, Dibrov, Myers 2020 (Seg-Grad-CAM), equation 3.
    """
    where, fix = "class_score", "Pass the class that is asked about."
    label = integral(where, "label", label, fix)
    if region is not None:
        region = array(where, "region", region)
        ok = region.dtype == jnp.bool or jnp.issubdtype(region.dtype, jnp.integer)
        expect(ok, where, "a region of bools or integers", region.dtype, "Pass mask == label, say.", TypeError)
        region = region != 0
    return jax.tree_util.Partial(_class_score, label, region)


def mask_margin(mask: jax.Array | np.ndarray, weights: jax.Array | np.ndarray | None = None) -> Score:
    """Return how far outputs are from giving a mask, a function of them: 0 where each pixel has its class.

    s = sum_p w_p max(max_{c != t_p} z_p[c] - z_p[t_p], 0) / sum_p w_p, over the pixels p that have a class t_p

    Pixels that have their class count no more: with `attack.binary` an attack turns the others, and does not give up
    those.

    Args:
        mask: the classes t that are wanted, integers (..., H, W); what is no class does not count.
        weights: w >= 0, floating (..., H, W); all 1 unless given.

    Returns:
        logits (..., H, W, classes) -> (...), one an image, >= 0.

    Raises:
        TypeError, from the call too: a mask that is no integers, weights or logits that are not floating.
        ValueError, from the call too: shapes that do not fit, weights below 0.

    Source: Xie et al. 2017 (dense adversary generation), equation 2 and algorithm 1: the sum over the targets that are
    still to be turned.
    """
    where = "mask_margin"
    mask = integral(where, "mask", mask, "Pass classes of pixels.")
    if weights is not None:
        weights = floating(where, "weights", weights)
        fix = "Give each pixel one."
        expect(weights.shape == mask.shape, where, f"weights of the mask's shape {mask.shape}", weights.shape, fix)
        known = isinstance(weights, jax.core.Tracer) or bool(np.all(np.asarray(weights) >= 0))
        expect(known, where, "weights >= 0", "others", "0 is for pixels that do not count.")
    return jax.tree_util.Partial(_mask_margin, mask, weights)


def _class_score(label: jax.Array, region: jax.Array | None, logits: jax.Array) -> jax.Array:
    where = "class_score"
    logits = _logits(where, logits)
    label = classes(where, "label", label, (*logits.shape[:-3], logits.shape[-1]))
    at = jnp.broadcast_to(label[..., None, None, None], (*logits.shape[:-1], 1))
    own = jnp.take_along_axis(logits, at, -1)[..., 0]
    if region is not None:
        fix = "Give each pixel whether it counts."
        expect(region.shape == own.shape, where, f"a region of shape {own.shape}", region.shape, fix)
        own = jnp.where(region, own, 0)
    return own.sum((-2, -1))


def _mask_margin(mask: jax.Array, weights: jax.Array | None, logits: jax.Array) -> jax.Array:
    where = "mask_margin"
    logits = _logits(where, logits)
    ok, fix = mask.shape == logits.shape[:-1], "Resize the mask, without interpolation."
    expect(ok, where, f"a mask of shape {logits.shape[:-1]}", mask.shape, fix)
    own = mask[..., None] == jnp.arange(logits.shape[-1])
    ahead = jnp.max(jnp.where(own, -jnp.inf, logits), -1) - jnp.where(own, logits, 0).sum(-1)
    each = jnp.where(own.any(-1), 1 if weights is None else weights, 0).astype(logits.dtype)
    total = each.sum((-2, -1))
    return (each * jnp.maximum(ahead, 0)).sum((-2, -1)) / jnp.where(total > 0, total, 1)


def _logits(where: str, logits: Any) -> jax.Array:
    logits = floating(where, "outputs", logits)
    ok, fix = logits.ndim >= 3, "Pass what a net gives that has a class for every pixel."
    expect(ok, where, "outputs (..., H, W, classes)", logits.shape, fix)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
