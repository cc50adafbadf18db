"""Weights of classes that have few pixels."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from jaxcnn.checking import expect, expect_count
from jaxcnn.data.masks import VOID
from jaxcnn.segmentation.labels import expect_labels

__all__ = ["class_weights"]


def class_weights(masks: ArrayLike, classes: int, *, void: Sequence[int] = VOID) -> tuple[float, ...]:
    """Return a weight for each class, large for the rare ones: median frequency balancing.

    w_c = median(f) / f_c, f_c = the pixels of class c / the pixels of all masks that have some of it.

    Args:
        masks: classes of the training set's pixels, integers (N, H, W).
        classes: how many there are.
        void: labels of pixels that do not count.

    Returns:
        `classes` floats, as `cross_entropy` and `pixel_loss` take them; 0 for a class that no mask has.

    Raises:
        ValueError: no masks (N, H, W), no pixel that counts, labels that are neither classes nor void.
        TypeError: masks that are no integers.

    Source: Eigen and Fergus 2015, section 6.3.2; Badrinarayanan et al. 2017 (SegNet), section 4.
    """
    where = "class_weights"
    masks, classes = np.asarray(masks), expect_count(where, "classes", classes)
    whole = np.issubdtype(masks.dtype, np.integer)
    expect(whole, where, "masks of an integer dtype", masks.dtype, "Pass classes of pixels.", TypeError)
    expect(masks.ndim == 3, where, "masks (N, H, W)", masks.shape, "Pass those of the training set.")
    expect_labels(where, masks, classes, void, "masks")
    counts = np.stack([(masks == label).sum((1, 2)) for label in range(classes)], 1)
    pixels, with_it = counts.sum(0), counts.sum(1) @ (counts > 0)
    there = pixels > 0
    expect(bool(there.any()), where, "masks with a pixel that counts", "none", "Look at void.")
    frequency = pixels[there] / with_it[there]
    weights = np.zeros(classes)
    weights[there] = np.median(frequency) / frequency
    return tuple(weights.tolist())
