"""Which classes a unit answers to: its mean activation for each of them."""

from typing import Any

import numpy as np

from jaxcnn.checking import expect, shown
from jaxcnn.explain.inside.activations import Images, averages, size_of
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["class_means", "class_selectivity"]


def class_means(
    net: Layer,
    params: Params,
    state: State,
    images: Images,
    labels: Any,
    at: str,
    *,
    batch_size: int = 256,
) -> np.ndarray:
    """Return the mean activation of each unit of a layer for each class, over images and positions.

    Args:
        net, params, state: the trained net.
        images: (N, H, W, C), uint8 or floating in [0, 1], a `Dataset` or a `Stream`.
        labels: integers (N,) in 0..classes-1: `test["label"]`.
        at: the path of a layer, at any depth.
        batch_size: images at once.

    Returns:
        (classes, units), float32, classes up to the largest label; NaN for a class without an image.

    Raises:
        ValueError: an unknown path, images out of [0, 1], labels that do not fit them, activations that are not finite.
    """
    where, labels = "class_means", np.asarray(labels)
    size = size_of(where, images)
    ok = labels.dtype.kind in "iu" and labels.shape == (size,) and labels.size > 0
    fix = 'Pass test["label"], say.'
    expect(ok and labels.min() >= 0, where, f"labels ({size},) of at least 0", shown(labels), fix)
    means = averages(where, net, params, state, images, at, batch_size)
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), means.shape[1]))
    np.add.at(sums, labels, means)
    found = np.full(sums.shape, np.nan, np.float32)
    found[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return found


def class_selectivity(means: np.ndarray) -> np.ndarray:
    """Return how much more each unit answers to one class than to the others: 0 not at all, 1 to one class alone.

    s = (m_best - m_others) / (m_best + m_others), m_best the largest of a unit's class means and m_others the mean of
    the rest; 0 for a unit that never answers.

    Args:
        means: (classes, units), at least 0, of two classes or more: `class_means` of a layer after a ReLU. Classes
            without an image, whose means are NaN, do not count.

    Returns:
        (units,), in [0, 1].

    Raises:
        ValueError: fewer than two classes with images, means below 0.

    Source: Morcos et al. 2018, "On the importance of single directions for generalization", equation 1.
    """
    where, means = "class_selectivity", np.asarray(means, np.float64)
    means = means[~np.isnan(means).any(axis=1)] if means.ndim == 2 else means
    expect(means.ndim == 2 and len(means) > 1, where, "means of two classes or more", means.shape, "Pass class_means.")
    ok = bool((means >= 0).all())
    expect(ok, where, "means of at least 0", f"{means.min(initial=0):.3g}", "Take a layer after a ReLU.")
    best = means.max(axis=0)
    others = (means.sum(axis=0) - best) / (len(means) - 1)
    total = best + others
    return np.divide(best - others, total, out=np.zeros_like(best), where=total > 0)
