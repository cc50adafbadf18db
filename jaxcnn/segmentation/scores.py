"""Numbers that stand for a mask: what explanations are about, and what attacks climb.

maps = explain.grad_cam(net, params, state, x, segmentation.class_score(label, region), at="stage4")
there = attack.binary(logits_fn, segmentation.class_margin(label, region))
attack.pgd(key, there, x, 1, epsilon=8 / 255)  # images in which no pixel of the region has the class
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import array, expect, floating, integral
from jaxcnn.classifier import classes

__all__ = ["class_margin", "class_score", "mask_margin"]

Score = Callable[[jax.Array], jax.Array]


def class_score(label: int | jax.Array | np.ndarray, region: jax.Array | np.ndarray | None = None) -> Score:
    """Return the score of a class over a region, a function of outputs: what the methods of `explain` take as target.

    s = sum_{p in region} z_p[label]

    It falls when the logits of all classes fall, so no value of it says that the class is gone: attacks take
    `class_margin`.

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
    return jax.tree_util.Partial(_class_score, *_asked("class_score", label, region))


def class_margin(label: int | jax.Array | np.ndarray, region: jax.Array | np.ndarray | None = None) -> Score:
    """Return how clearly a region has a class, a function of outputs: 0 where no pixel of it has.

    s = sum_{p in region} max(z_p[label] - max_{c != label} z_p[c], 0) / |region|

    Pixels that have another class count no more: with `attack.binary` an attack erases the class from the region,
    whatever it becomes there. What it is to become says `mask_margin`.

    Args:
        label: a class, or integers (...), one an image.
        region: bool or integers (..., H, W), 0 outside of the region; the whole image unless given.

    Returns:
        logits (..., H, W, classes) -> (...), one an image, >= 0; 0 of an empty region.

    Raises:
        TypeError, ValueError: as `class_score`.

    Source: as `mask_margin`, away from a class in the place of towards one.
    """
    return jax.tree_util.Partial(_class_margin, *_asked("class_margin", label, region))


def mask_margin(mask: jax.Array | np.ndarray) -> Score:
    """Return how far outputs are from giving a mask, a function of them: 0 where each pixel has its class.

    s = mean_p max(max_{c != t_p} z_p[c] - z_p[t_p], 0), over the pixels p that have a class t_p

    Pixels that have their class count no more: with `attack.binary` an attack turns the others, and does not give up
    those.

    Args:
        mask: the classes t that are wanted, integers (..., H, W); what is no class, -1 say, does not count.

    Returns:
        logits (..., H, W, classes) -> (...), one an image, >= 0; 0 where no pixel counts.

    Raises:
        TypeError, from the call too: a mask that is no integers, logits that are not floating.
        ValueError, from the call: a mask that does not fit the logits.

    Source: Xie et al. 2017 (dense adversary generation), equation 2 and algorithm 1: the sum over the targets that are
    still to be turned.
    """
    return jax.tree_util.Partial(_mask_margin, integral("mask_margin", "mask", mask, "Pass classes of pixels."))


def _asked(where: str, label: Any, region: Any) -> tuple[jax.Array, jax.Array | None]:
    """Return a class and where it is asked about."""
    label = integral(where, "label", label, "Pass the class that is asked about.")
    if region is not None:
        region = array(where, "region", region)
        ok = region.dtype == jnp.bool or jnp.issubdtype(region.dtype, jnp.integer)
        expect(ok, where, "a region of bools or integers", region.dtype, "Pass mask == label, say.", TypeError)
        region = region != 0
    return label, region


def _class_score(label: jax.Array, region: jax.Array | None, logits: jax.Array) -> jax.Array:
    logits, own, region = _over("class_score", label, region, logits)
    return jnp.where(own & region[..., None], logits, 0).sum((-3, -2, -1))


def _class_margin(label: jax.Array, region: jax.Array | None, logits: jax.Array) -> jax.Array:
    logits, own, region = _over("class_margin", label, region, logits)
    expect(logits.shape[-1] > 1, "class_margin", "two classes or more", logits.shape[-1], "One has no other to beat.")
    return _mean(jnp.maximum(-_behind(logits, own), 0), region)


def _mask_margin(mask: jax.Array, logits: jax.Array) -> jax.Array:
    where = "mask_margin"
    logits = _logits(where, logits)
    ok, fix = mask.shape == logits.shape[:-1], "Resize the mask, without interpolation."
    expect(ok, where, f"a mask of shape {logits.shape[:-1]}", mask.shape, fix)
    own = mask[..., None] == jnp.arange(logits.shape[-1])
    return _mean(jnp.maximum(_behind(logits, own), 0), own.any(-1))


def _over(
    where: str, label: jax.Array, region: jax.Array | None, logits: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return checked logits (..., H, W, classes), which of them are the class's, and the region (..., H, W)."""
    logits = _logits(where, logits)
    label = classes(where, "label", label, (*logits.shape[:-3], logits.shape[-1]))[..., None, None, None]
    # What is known within `jit` alone cannot be refused there: the score is NaN, which attacks refuse.
    none = (label < 0) | (label >= logits.shape[-1])
    own, logits = (label == jnp.arange(logits.shape[-1])) | none, jnp.where(none, jnp.nan, logits)
    if region is None:
        region = jnp.ones(logits.shape[:-1], bool)
    fix = "Give each pixel whether it counts."
    expect(region.shape == logits.shape[:-1], where, f"a region of shape {logits.shape[:-1]}", region.shape, fix)
    return logits, own, region


def _behind(logits: jax.Array, own: jax.Array) -> jax.Array:
    """Return by how much the best of the other classes is ahead of the one that `own` marks, (..., H, W)."""
    return jnp.max(jnp.where(own, -jnp.inf, logits), -1) - jnp.where(own, logits, 0).sum(-1)


def _mean(values: jax.Array, counts: jax.Array) -> jax.Array:
    """Return the mean of values (..., H, W) over the places that count, 0 where none does."""
    total = counts.sum((-2, -1))
    return jnp.where(counts, values, 0).sum((-2, -1)) / jnp.where(total > 0, total, 1)


def _logits(where: str, logits: Any) -> jax.Array:
    logits = floating(where, "outputs", logits)
    ok, fix = logits.ndim >= 3, "Pass what a net gives that has a class for every pixel."
    expect(ok, where, "outputs (..., H, W, classes)", logits.shape, fix)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
