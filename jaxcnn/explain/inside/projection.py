"""Features drawn in two dimensions, so that one can see what a layer takes to be alike."""

from typing import Literal, NamedTuple

import jax
import numpy as np

from jaxcnn.checking import expect, expect_choice, expect_key, installed, number

__all__ = ["Projection", "project"]


class Projection(NamedTuple):
    """`points` (N, 2), and of principal components `explained` (2,), each axis's share of the variance."""

    points: np.ndarray
    explained: np.ndarray | None


def project(
    features: np.ndarray,
    method: Literal["pca", "tsne"] = "pca",
    *,
    key: jax.Array | None = None,
    perplexity: float = 30.0,
) -> Projection:
    """Return features in two dimensions.

    "pca": the two directions of largest variance, x - mean = U S V^T, points = U S. Each direction points to where
    its weight of largest magnitude is positive, so that signs are the same everywhere. Far apart is far apart.

    "tsne": points whose neighbours are those of the features, by scikit-learn, begun at the principal components.
    What is near is alike; distances between clusters and their sizes mean little.

    Args:
        features: (N, F), finite, of three images or more: `embedding`, or images flattened.
        method: "pca" or "tsne".
        key: a PRNG key, for "tsne".
        perplexity: of "tsne": about how many neighbours count, below N.

    Returns:
        A `Projection`.

    Raises:
        ValueError: another rank, values that are not finite, a perplexity that is no number from 1 to N - 1.
        TypeError: no key for "tsne".
        ImportError: scikit-learn is not installed, for "tsne".

    Source: Pearson 1901; van der Maaten and Hinton 2008.
    """
    where, features = "project", np.asarray(features, np.float64)
    ok = features.ndim == 2 and len(features) >= 3 and features.shape[1] >= 1
    expect(ok, where, "features (N, F) of three images or more", features.shape, "Flatten each image's.")
    fix = "Look at the weights and the images."
    expect(bool(np.isfinite(features).all()), where, "finite features", "others", fix)
    expect_choice(where, 'method as "pca" or "tsne"', method, ("pca", "tsne"))
    points, explained = _principal(features)
    if method == "pca":
        return Projection(points, explained)
    expect_key(where, key, known=True)
    most = len(features) - 1
    what, fix = f"a perplexity from 1 to {most}, less than the number of images", "30 is usual."
    perplexity = number(where, what, perplexity, lambda p: 1 <= p <= most, fix)
    with installed(where, "scikit-learn", 'pip install "jaxcnn[data]"'):
        from sklearn.manifold import TSNE
    seed = int(np.asarray(jax.random.bits(key, (), "uint32")))  # pyrefly: ignore
    # As scikit-learn begins: small, so that clusters can still pass through one another.
    begin = points / (np.std(points[:, 0]) or 1.0) * 1e-4
    return Projection(TSNE(perplexity=perplexity, init=begin, random_state=seed).fit_transform(features), None)


def _principal(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = features - features.mean(axis=0)
    left, scale, right = np.linalg.svd(centred, full_matrices=False)
    missing = max(2 - len(scale), 0)  # of one feature, the second axis is 0
    left = np.pad(left, ((0, 0), (0, missing)))[:, :2]
    right = np.pad(right, ((0, missing), (0, 0)))[:2]
    scale = np.pad(scale, (0, missing))
    largest = right[np.arange(2), np.abs(right).argmax(axis=1)]
    variance = scale**2
    total = variance.sum()
    return left * scale[:2] * np.where(largest < 0, -1.0, 1.0), variance[:2] / total if total > 0 else np.zeros(2)
