"""How good points are: the percentage of correct keypoints, of arrays and as a metric of `fit`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, floating, number

__all__ = ["KeypointAccuracy", "correct_keypoints", "keypoint_accuracy"]


def correct_keypoints(found: jax.Array, truth: jax.Array, size: jax.Array, *, threshold: float = 0.1) -> jax.Array:
    """Return which points are right: those no farther from the true one than a part of the object's size (PCK).

    |found - truth| <= threshold size

    Args:
        found: floating (..., K, 2), x and y in pixels.
        truth: floating (..., K, 2), NaN for points that are not there or not labelled.
        size: floating (...), of the object, in pixels: the longer side of its box, say.
        threshold: the part, finite and > 0.

    Returns:
        (..., K) float32: 1.0 where a point is right, 0.0 where it is not, NaN where the true one is NaN. Its
        `jnp.nanmean` is the percentage of correct keypoints.

    Raises:
        TypeError: arguments that are not floating.
        ValueError: shapes that do not fit, a threshold that is not above 0, or infinite.

    Source: Yang and Ramanan 2013, "Articulated human detection with flexible mixtures of parts", section 7.
    """
    return _correct("correct_keypoints", found, truth, size, _threshold("correct_keypoints", threshold))


@dataclass(frozen=True)
class KeypointAccuracy:
    """The trainer's metric: see `keypoint_accuracy`."""

    threshold: float = 0.1
    name: str = "keypoints"
    size: str = "boxes"

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return how many points of each image are right, and how many there are, (N, 2)."""
        where, names = "keypoint_accuracy", (self.name, self.size)
        fix = "Pass keypoint_accuracy(name=..., size=...)."
        ok = all(name in batch for name in names)
        expect(ok, where, f"a batch with {names[0]!r} and {names[1]!r}", list(batch), fix)
        size = floating(where, self.size, batch[self.size])
        boxes = size.ndim == 3 and size.shape[1] > 0 and size.shape[2] == 4
        fix = "Give each image one."
        expect(boxes or size.ndim == 1, where, f"{self.size!r} (N,), or boxes (N, K, 4)", size.shape, fix)
        size = jnp.max(size[:, 0, 2:] - size[:, 0, :2], -1) if boxes else size
        right = _correct(where, outputs, batch[self.name], size, self.threshold)
        return jnp.stack([jnp.nansum(right, -1), (~jnp.isnan(right)).sum(-1)], -1)

    def summary(self, mean: jax.Array | np.ndarray) -> float:
        """Return the part of the points that is right, of both numbers averaged over images; NaN without a point."""
        right, there = (float(value) for value in mean)
        return right / there if there > 0 else math.nan


def keypoint_accuracy(*, threshold: float = 0.1, name: str = "keypoints", size: str = "boxes") -> KeypointAccuracy:
    """Return the trainer's metric for points: the percentage of correct keypoints (PCK) among those of all images.

    It is no mean over images, since points may be missing: it gives two numbers for each, and divides what they add up
    to.

    Args:
        threshold: as of `correct_keypoints`.
        name: of the true points (N, K, 2) in the batch, NaN for those that are not there.
        size: of the objects' sizes in the batch: floating (N,), in pixels; or boxes (N, K, 4), the longer side of the
            first of each image, which augmentations move along.

    Returns:
        `(outputs, batch) -> (N, 2)`, with a `summary`, for `fit` and `evaluate`.

    Raises:
        ValueError: a threshold that is not above 0, or infinite.

    Source: as of `correct_keypoints`.
    """
    return KeypointAccuracy(_threshold("keypoint_accuracy", threshold), name, size)


def _correct(where: str, found: jax.Array, truth: jax.Array, size: jax.Array, threshold: float) -> jax.Array:
    given = {"found": found, "truth": truth, "size": size}
    found, truth, size = (
        x.astype(jnp.promote_types(x.dtype, jnp.float32))
        for x in (floating(where, name, x) for name, x in given.items())
    )
    ok = found.ndim >= 2 and found.shape[-1] == 2 and found.shape == truth.shape and size.shape == found.shape[:-2]
    got = f"{found.shape}, {truth.shape} and {size.shape}"
    expect(ok, where, "found and true points (..., K, 2) and sizes (...)", got, "Give each object its size.")
    near = jnp.linalg.norm(found - truth, axis=-1) <= threshold * size[..., None]
    return jnp.where(jnp.isnan(truth).any(-1), jnp.nan, near.astype(jnp.float32))


def _threshold(where: str, threshold: float) -> float:
    what, fix = "a finite threshold > 0", "0.1 is usual."
    return number(where, what, threshold, lambda t: 0 < t < math.inf, fix)
