"""Points in images by regression: outputs that are places, and the loss of them.

A point that is not there, or that nobody has labelled, is NaN, NaN: no mask travels beside the points, and
augmentations leave it what it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, floating, number, shown
from jaxcnn.layers import register

__all__ = ["PointLoss", "SoftArgmax", "point_loss", "soft_argmax"]

MISSING = 'Pass points (N, K, 2), x and y in pixels, as "keypoints".'
AS_MANY = "Give each image as many points, NaN for those that are not there."


def soft_argmax(heat: jax.Array, *, stride: int = 1) -> jax.Array:
    """Return the mean place of each heat map, its softmax taken for probabilities: an argmax with a gradient.

    sum_p softmax(heat)[p] centre(p), the centre of cell (i, j) being (stride (j + 1/2), stride (i + 1/2)) pixels.

    Args:
        heat: floating (..., h, w, K), logits.
        stride: pixels of the image that a cell is wide.

    Returns:
        (..., K, 2), x and y in pixels, in float32 or wider.

    Raises:
        TypeError: heat that is not floating.
        ValueError: another rank, a stride that is no positive int.

    Source: Levine et al. 2016, section 5.2 ("spatial softmax"); Sun et al. 2018, "Integral human pose regression".
    """
    where = "soft_argmax"
    heat, stride = floating(where, "heat", heat), expect_count(where, "stride", stride)
    expect(heat.ndim >= 3, where, "heat maps (..., h, w, K)", heat.shape, "Give each image its maps, last.")
    heat = heat.astype(jnp.promote_types(heat.dtype, jnp.float32))
    p = jax.nn.softmax(heat, axis=(-3, -2))
    across, down = ((jnp.arange(side) + 0.5) * stride for side in (heat.shape[-2], heat.shape[-3]))
    x = jnp.einsum("...hwk,w->...k", p, across, precision="highest")
    y = jnp.einsum("...hwk,h->...k", p, down, precision="highest")
    return jnp.stack([x, y], -1)


@register
@dataclass(frozen=True)
class SoftArgmax:
    """`soft_argmax` of one stride, as a layer of a net."""

    stride: int = 1

    def __post_init__(self) -> None:
        """Check the stride."""
        object.__setattr__(self, "stride", expect_count("SoftArgmax", "stride", self.stride))

    def __call__(self, heat: jax.Array) -> jax.Array:
        """Return (..., K, 2)."""
        return soft_argmax(heat, stride=self.stride)


@dataclass(frozen=True)
class PointLoss:
    """The trainer's loss of a net that gives points: see `point_loss`."""

    beta: float = 1.0
    name: str = "keypoints"

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,) float32."""
        where = "point_loss"
        expect(self.name in batch, where, f"a batch with {self.name!r}", list(batch), MISSING)
        outputs, points = floating(where, "outputs", outputs), floating(where, self.name, batch[self.name])
        ok = outputs.ndim == 3 and outputs.shape[-1] == 2 and points.shape == outputs.shape
        got = f"{outputs.shape} and {points.shape}"
        expect(ok, where, f"outputs and {self.name!r} (N, K, 2)", got, AS_MANY)
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        there = ~jnp.isnan(points).any(-1)
        off = jnp.abs(jnp.where(there[..., None], outputs - points, 0))  # chosen first, so that no gradient is NaN
        each = jnp.where(off < self.beta, 0.5 * off**2 / self.beta, off - 0.5 * self.beta).sum(-1)
        return each.sum(-1) / jnp.maximum(there.sum(-1), 1)

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the points fit such outputs; `fit` calls it before any work."""
        where, shape = "point_loss", tuple(getattr(outputs, "shape", ()))
        ok = len(shape) == 3 and shape[-1] == 2
        expect(ok, where, "outputs (N, K, 2)", shape, "End the net in SoftArgmax, or reshape its outputs.")
        expect(self.name in arrays, where, f"data with {self.name!r}", list(arrays), MISSING)
        points = np.asarray(arrays[self.name])
        what = f"{self.name!r} of shape (N, {shape[1]}, 2)"
        expect(points.shape[1:] == shape[1:], where, what, points.shape, AS_MANY)
        bad = points[~(np.isfinite(points).all(-1) | np.isnan(points).all(-1))]
        what, fix = f"{self.name!r} finite, or NaN in x and y", "NaN, NaN says that a point is not there."
        expect(not len(bad), where, what, shown(bad[:5].tolist()), fix)
        ok = bool(np.isfinite(points).any())
        expect(ok, where, f"{self.name!r} with a point that is there", "NaN alone", "Look where they come from.")


def point_loss(*, beta: float = 1.0, name: str = "keypoints") -> PointLoss:
    """Return the trainer's loss of a net whose outputs are points (N, K, 2), in pixels: the smooth absolute error.

    The mean over the points that are there of l(dx) + l(dy), l(d) = d^2 / (2 beta) where |d| < beta, else
    |d| - beta / 2. A true point that is NaN is not there; an image without a point has the loss 0.

    Args:
        beta: in pixels, finite and > 0; large ones give the squared error, up to its scale.
        name: of the true points in the batch, floating (N, K, 2).

    Returns:
        `(outputs, batch) -> (N,)`.

    Raises:
        ValueError: beta that is not above 0, or infinite.

    Source: Girshick 2015, "Fast R-CNN", equation 3; where all points are there, its mean is twice that of
    `torch.nn.functional.smooth_l1_loss`, which averages over x and y.
    """
    what, fix = "a finite beta > 0", "1 pixel is usual."
    return PointLoss(number("point_loss", what, beta, lambda b: 0 < b < math.inf, fix), name)
