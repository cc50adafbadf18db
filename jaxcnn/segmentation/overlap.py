"""How well masks fit: intersection over union of each class, of counts that add up over images."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn.checking import expect, expect_count, integral
from jaxcnn.data.masks import VOID, void_labels
from jaxcnn.losses import confusion_matrix
from jaxcnn.segmentation.labels import expect_labels, expect_masks, mask_in

__all__ = ["MeanOverlap", "class_overlaps", "counts", "mean_overlap"]


def counts(labels: ArrayLike, predictions: ArrayLike, classes: int, *, void: Sequence[int] = VOID) -> jax.Array:
    """Return how many pixels of each true class (row) were taken for each class (column), an image at a time.

    Args:
        labels: integers (..., H, W), 0..classes-1 or void.
        predictions: integers of the same shape, 0..classes-1, such as `logits.argmax(-1)`.
        classes: how many there are.
        void: labels of pixels that do not count. Under `jit`, where labels are not known, no label that is no class
            counts.

    Returns:
        (..., classes, classes) float32, to be averaged; whole numbers up to 2^24.

    Raises:
        ValueError: shapes that differ, labels that are neither classes nor void, predictions that are no classes.
        TypeError: labels or predictions that are no integers.
    """
    where, fix = "counts", "Pass classes of pixels."
    labels, predictions = integral(where, "labels", labels, fix), integral(where, "predictions", predictions, fix)
    classes = expect_count(where, "classes", classes)
    ok = labels.shape == predictions.shape and labels.ndim >= 2
    expect(ok, where, f"predictions of the labels' shape {labels.shape}", predictions.shape, "Resize one of them.")
    expect_labels(where, labels, classes, void)
    expect_labels(where, predictions, classes, name="predictions")
    images = labels.shape[:-2]
    rows = math.prod(images), math.prod(labels.shape[-2:])
    counted = jax.vmap(functools.partial(confusion_matrix, classes=classes))
    found = counted(labels.reshape(rows), predictions.reshape(rows)).astype(jnp.float32)
    return found.reshape(*images, classes, classes)


def class_overlaps(counted: jax.Array | np.ndarray) -> np.ndarray:
    """Return the intersection over union of each class: pixels rightly its by those that are its or taken for it.

    Args:
        counted: (classes, classes), of `counts`, summed or averaged over images.

    Returns:
        (classes,), in [0, 1]; NaN for a class that no pixel has or is taken for.

    Raises:
        ValueError: counts of another shape, such as those of several images.

    Source: Everingham et al. 2010, section 4.1.
    """
    counted = np.asarray(counted, np.float64)
    ok, fix = counted.ndim == 2 and counted.shape[0] == counted.shape[1], "Add up those of the images: counted.sum(0)."
    expect(ok, "class_overlaps", "counts (classes, classes)", counted.shape, fix)
    both = np.diagonal(counted)
    either = counted.sum(0) + counted.sum(1) - both
    return np.where(either > 0, both / np.where(either > 0, either, 1), np.nan)


@dataclass(frozen=True)
class MeanOverlap:
    """The trainer's metric: see `mean_overlap`."""

    classes: int
    name: str = "mask"
    void: tuple[int, ...] = VOID

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the counts of each image, (N, classes, classes)."""
        self._expect_classes(outputs)
        labels = mask_in("mean_overlap", batch, outputs, self.name)
        return counts(labels, outputs.argmax(-1), self.classes, void=self.void)

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the masks fit such outputs; `fit` calls it before any work."""
        self._expect_classes(outputs)
        expect_masks("mean_overlap", outputs, arrays, self.name, self.void)

    def _expect_classes(self, outputs: Any) -> None:
        shape = tuple(getattr(outputs, "shape", ()))
        ok, fix = shape[-1:] == (self.classes,), "Name as many classes as the net has outputs for a pixel."
        expect(ok, "mean_overlap", f"outputs (..., H, W, {self.classes})", shape, fix)

    def summary(self, mean: jax.Array) -> float:
        """Return the mean over the classes of what they overlap, of counts averaged over images."""
        found = class_overlaps(mean)
        return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def mean_overlap(classes: int, *, name: str = "mask", void: Sequence[int] = VOID) -> MeanOverlap:
    """Return the trainer's metric for masks: the mean intersection over union, of the pixels of all images together.

    It is no mean over images, so it gives counts for each, and makes a number of what they add up to.

    Args:
        classes: of the net.
        name: of the labels (N, H, W) in a batch.
        void: labels of pixels that do not count.

    Raises:
        ValueError: void labels that are classes too.

    Source: Everingham et al. 2010; Long et al. 2015, section 5.
    """
    where = "mean_overlap"
    classes = expect_count(where, "classes", classes)
    return MeanOverlap(classes, name, void_labels(where, void, classes))
