"""Losses of nets that give logits for every pixel; pixels without a class, such as "void", do not count."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, floating, integral, is_number, number, shown
from jaxcnn.data.masks import VOID, void_labels
from jaxcnn.segmentation.labels import expect_labels, expect_masks, mask_in

__all__ = ["PixelLoss", "cross_entropy", "dice", "focal", "pixel_loss"]


def cross_entropy(
    logits: jax.Array, labels: jax.Array, *, weights: Sequence[float] | None = None, void: Sequence[int] = VOID
) -> jax.Array:
    """Return the mean cross-entropy of the pixels of each image, in nats.

    sum_p w[t_p] (-log softmax(z_p)[t_p]) / sum_p w[t_p], over the pixels p that have a class t_p.

    Args:
        logits: floating (..., H, W, classes); computed in float32.
        labels: integers (..., H, W), 0..classes-1 or void.
        weights: one >= 0 for each class; all 1 unless given.
        void: labels of pixels that do not count. Under `jit`, where labels are not known, no label that is no class
            counts.

    Returns:
        (...,) float32; 0 for an image without a pixel that counts.

    Raises:
        ValueError: shapes that do not fit, labels that are neither classes nor void, another number of weights.
        TypeError: logits that are not floating, labels that are no integers.

    Source: agrees with `torch.nn.functional.cross_entropy(weight, ignore_index)`, an image at a time.
    """
    return _weighted("cross_entropy", logits, labels, weights, void, lambda log_p: -log_p)


def focal(
    logits: jax.Array,
    labels: jax.Array,
    *,
    gamma: float = 2.0,
    weights: Sequence[float] | None = None,
    void: Sequence[int] = VOID,
) -> jax.Array:
    """Return the mean focal loss of the pixels of each image: of those that the net is sure of little remains.

    The mean of (1 - p)^gamma (-log p), p = softmax(z_p)[t_p], weighted as in `cross_entropy`.

    Args:
        logits, labels, weights, void: as of `cross_entropy`.
        gamma: >= 0; 0 gives `cross_entropy`.

    Returns:
        (...,) float32.

    Raises:
        ValueError: shapes or labels that do not fit, a gamma below 0.
        TypeError: logits that are not floating, labels that are no integers.

    Source: Lin et al. 2017, equation 4, for several classes.
    """
    gamma = number("focal", "gamma >= 0", gamma, lambda g: 0 <= g < math.inf, "2 is the paper's.")

    def loss(log_p: jax.Array) -> jax.Array:
        # Of a gamma below 1 the power's slope is infinite at 0, where p is 1: there is nothing left to learn.
        off = -jnp.expm1(log_p)
        return -jnp.where(off > 0, jnp.where(off > 0, off, 1) ** gamma, 0.0**gamma) * log_p

    return _weighted("focal", logits, labels, weights, void, loss)


def dice(logits: jax.Array, labels: jax.Array, *, smooth: float = 1.0, void: Sequence[int] = VOID) -> jax.Array:
    """Return 1 - the soft Dice coefficient of each image, averaged over the classes that it has.

    1 - mean_c (2 sum_p s_pc t_pc + smooth) / (sum_p s_pc + sum_p t_pc + smooth), s the softmax and t the one-hot
    labels.

    Args:
        logits, labels, void: as of `cross_entropy`.
        smooth: added above and below, >= 0.

    Returns:
        (...,) float32, in [0, 1].

    Raises:
        ValueError: shapes or labels that do not fit, smooth below 0.
        TypeError: logits that are not floating, labels that are no integers.

    Source: Milletari et al. 2016, section 3, with sums in the place of sums of squares, as is usual.
    """
    logits, labels = _given("dice", logits, labels, void)
    smooth = number("dice", "smooth >= 0", smooth, lambda s: 0 <= s < math.inf, "1 is usual.")
    truth = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)  # a row of zeros for pixels that do not count
    soft = jax.nn.softmax(logits) * truth.sum(-1, keepdims=True)
    both, total = (part.sum((-3, -2)) for part in (soft * truth, soft + truth))
    there = truth.any((-3, -2))
    ratio = (2 * both + smooth) / jnp.maximum(total + smooth, 1e-12)
    return jnp.where(there, 1 - ratio, 0).sum(-1) / jnp.maximum(there.sum(-1), 1)


@dataclass(frozen=True)
class PixelLoss:
    """The trainer's loss for a class at every pixel: see `pixel_loss`."""

    kind: str = "cross_entropy"
    weights: tuple[float, ...] | None = None
    dice: float = 0.0
    name: str = "mask"
    void: tuple[int, ...] = VOID

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,) float32."""
        labels = mask_in("pixel_loss", batch, outputs, self.name)
        function = {"cross_entropy": cross_entropy, "focal": focal}[self.kind]
        loss = function(outputs, labels, weights=self.weights, void=self.void)
        return loss + self.dice * dice(outputs, labels, void=self.void) if self.dice else loss

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the masks fit such outputs; `fit` calls it before any work."""
        expect_masks("pixel_loss", outputs, arrays, self.name, self.void)


def pixel_loss(
    kind: str = "cross_entropy",
    *,
    weights: Sequence[float] | None = None,
    dice: float = 0.0,
    name: str = "mask",
    void: Sequence[int] = VOID,
) -> PixelLoss:
    """Return the trainer's loss for nets with logits (N, H, W, classes): cross-entropy or focal, and Dice if asked for.

    Args:
        kind: "cross_entropy" or "focal".
        weights: of the classes, as of `cross_entropy`; `class_weights` makes some.
        dice: the weight of `dice`, which is added.
        name: of the labels (N, H, W) in a batch.
        void: labels that do not count; others that no class has are an error before the training.

    Returns:
        `(outputs, batch) -> (N,)`.

    Raises:
        ValueError: another kind, weights below 0.
    """
    where = "pixel_loss"
    ok = isinstance(kind, str) and kind in ("cross_entropy", "focal")
    expect(ok, where, 'kind as "cross_entropy" or "focal"', shown(kind), "Choose one of them.")
    weight = number(where, "dice >= 0", dice, lambda d: 0 <= d < math.inf, "1.0 is usual.")
    return PixelLoss(kind, _weights(where, weights, None), weight, name, void_labels(where, void))


def _weighted(where: str, logits: Any, labels: Any, weights: Any, void: Any, loss: Any) -> jax.Array:
    logits, labels = _given(where, logits, labels, void)
    classes = logits.shape[-1]
    weights = _weights(where, weights, classes)
    counts = (labels >= 0) & (labels < classes)
    at = jnp.where(counts, labels, 0)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), at[..., None], -1)[..., 0]
    each = jnp.where(counts, logits.dtype.type(1) if weights is None else jnp.asarray(weights, logits.dtype)[at], 0)
    total = each.sum((-2, -1))
    return jnp.where(counts, each * loss(log_p), 0).sum((-2, -1)) / jnp.where(total > 0, total, 1)


def _given(where: str, logits: Any, labels: Any, void: Any) -> tuple[jax.Array, jax.Array]:
    logits = floating(where, "logits", logits)
    labels = integral(where, "labels", labels, "Pass the class of each pixel.")
    expect(logits.ndim >= 3, where, "logits (..., H, W, classes)", logits.shape, "Add the class axis, last.")
    ok = labels.shape == logits.shape[:-1]
    expect(ok, where, f"labels of shape {logits.shape[:-1]}", labels.shape, "Resize the masks, without interpolation.")
    expect_labels(where, labels, logits.shape[-1], void)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), labels.astype(jnp.int32)


def _weights(where: str, weights: Any, classes: int | None) -> tuple[float, ...] | None:
    if weights is None:
        return None
    ok = hasattr(weights, "__len__") and all(is_number(w) and 0 <= float(w) < math.inf for w in weights)
    expect(ok, where, "weights as numbers >= 0", shown(weights), "Give one for each class.")
    expect(classes in (None, len(weights)), where, f"{classes} weights", len(weights), "Give one for each class.")
    return tuple(float(w) for w in weights)
