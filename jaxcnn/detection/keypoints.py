"""Points in images by regression: outputs that are places, the loss of them, and how good they are."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, floating, number, shown

__all__ = ["PointLoss", "SoftArgmax", "correct_keypoints", "point_loss", "soft_argmax"]

MISSING = 'Pass points (N, K, 2), x and y in pixels, as "keypoints".'


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
        expect(self.name in batch, "point_loss", f"a batch with {self.name!r}", list(batch), MISSING)
        outputs = floating("point_loss", "outputs", outputs)
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        off = jnp.abs(outputs - batch[self.name])
        near = 0.5 * off**2 / self.beta
        return jnp.where(off < self.beta, near, off - 0.5 * self.beta).sum(-1).mean(-1)

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the points fit such outputs; `fit` calls it before any work."""
        where, shape = "point_loss", tuple(getattr(outputs, "shape", ()))
        ok = len(shape) == 3 and shape[-1] == 2
        expect(ok, where, "outputs (N, K, 2)", shape, "End the net in SoftArgmax, or reshape its outputs.")
        expect(self.name in arrays, where, f"data with {self.name!r}", list(arrays), MISSING)
        points = np.asarray(arrays[self.name])
        what = f"{self.name!r} of shape (N, {shape[1]}, 2)"
        expect(points.shape[1:] == shape[1:], where, what, points.shape, "Give each image as many points.")
        bad = points[~np.isfinite(points).all((1, 2))]
        expect(not len(bad), where, f"finite {self.name!r}", shown(bad[:2].tolist()), "Leave those images out.")


def point_loss(*, beta: float = 1.0, name: str = "keypoints") -> PointLoss:
    """Return the trainer's loss of a net whose outputs are points (N, K, 2), in pixels: the smooth absolute error.

    The mean over the points of l(dx) + l(dy), l(d) = d^2 / (2 beta) where |d| < beta, else |d| - beta / 2.

    Args:
        beta: in pixels, > 0; large ones give the squared error, up to its scale.
        name: of the true points in the batch, floating (N, K, 2).

    Returns:
        `(outputs, batch) -> (N,)`.

    Raises:
        ValueError: beta that is not above 0.

    Source: Girshick 2015, "Fast R-CNN", equation 3; agrees with `torch.nn.functional.smooth_l1_loss`.
    """
    return PointLoss(number("point_loss", "beta > 0", beta, lambda b: b > 0, "1 pixel is usual."), name)


def correct_keypoints(found: jax.Array, truth: jax.Array, size: jax.Array, *, threshold: float = 0.1) -> jax.Array:
    """Return which points are right: those no farther from the true one than a part of the object's size (PCK).

    |found - truth| <= threshold size

    Args:
        found: floating (..., K, 2), x and y in pixels.
        truth: floating (..., K, 2).
        size: floating (...), of the object, in pixels: the longer side of its box, say.
        threshold: the part, > 0.

    Returns:
        (..., K) bool; its mean is the percentage of correct keypoints.

    Raises:
        TypeError: arguments that are not floating.
        ValueError: shapes that do not fit, a threshold that is not above 0.

    Source: Yang and Ramanan 2013, "Articulated human detection with flexible mixtures of parts", section 7.
    """
    where = "correct_keypoints"
    found, truth, size = (
        floating(where, name, x) for name, x in {"found": found, "truth": truth, "size": size}.items()
    )
    ok = found.ndim >= 2 and found.shape[-1] == 2 and found.shape == truth.shape and size.shape == found.shape[:-2]
    got = f"{found.shape}, {truth.shape} and {size.shape}"
    expect(ok, where, "found and true points (..., K, 2) and sizes (...)", got, "Give each object its size.")
    threshold = number(where, "threshold > 0", threshold, lambda t: t > 0, "0.1 is usual.")
    return jnp.linalg.norm(found - truth, axis=-1) <= threshold * size[..., None]
