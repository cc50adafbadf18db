"""The colours of images, decorrelated: coordinates in which they are as independent as those of a data set are."""

from typing import Any

import numpy as np

from jaxcnn.augment.lighting import IMAGENET_EIGENVALUES, IMAGENET_EIGENVECTORS, principal_components
from jaxcnn.checking import expect, is_number, shown

__all__ = ["Basis", "colour_basis", "expect_basis"]

Basis = tuple[tuple[float, ...], ...]
"""A matrix (C, C) as a tuple of rows, so that what holds it is static and can be compared."""


def colour_basis(images: Any = None) -> Basis:
    """Return the matrix A whose columns are the principal components of colours, as long as they deviate.

        covariance of the channels of all pixels = A A^T,    A = V diag(sqrt(eigenvalues))

    `Fourier(colours=colour_basis(train["image"]))` climbs in coordinates z with colours A z / |A|, so that channels
    move together as far as they do in those images, and odd colours are as rare.

    Args:
        images: (N, H, W, C), uint8 in 0..255 or floating in [0, 1], such as `train["image"]`; those of ImageNet,
            with red, green and blue, unless given.

    Returns:
        Floats, C rows of C.

    Raises:
        TypeError, ValueError: no such images.

    Source: Olah, Mordvintsev, Schubert 2017 ("Feature visualization", preconditioning); Krizhevsky et al. 2012,
    section 4.1, for the eigenvalues.
    """
    if images is None:
        values, vectors = np.array(IMAGENET_EIGENVALUES), np.array(IMAGENET_EIGENVECTORS)
    else:
        values, vectors = principal_components(images)
    return tuple(tuple(row) for row in (vectors * np.sqrt(values)).tolist())


def expect_basis(where: str, colours: Any) -> None:
    """Raise `ValueError` unless the option is None or a square matrix of numbers that is not all zero."""
    ok = colours is None or (
        isinstance(colours, tuple)
        and len(colours) > 0
        and all(isinstance(row, tuple) and len(row) == len(colours) and all(map(is_number, row)) for row in colours)
        and bool(np.isfinite(colours).all() and np.any(colours))
    )
    fix = "Pass maximization.colour_basis(images), say."
    expect(ok, where, "colours as a square matrix, a tuple of tuples", shown(colours), fix)
