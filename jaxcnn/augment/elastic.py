"""Elastic deformation: every pixel moved by a smooth random field."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.example import geometric
from jaxcnn.augment.interpolation import bilinear, resampling
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import Padding, outside_of
from jaxcnn.checking import expect, number

__all__ = ["displacement", "elastic"]

_ITERATIONS = 20


@geometric
def elastic(
    key: jax.Array,
    frame: tuple[int, int],
    *,
    alpha: float = 50.0,
    sigma: float = 5.0,
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    mask_fill: int = 0,
) -> Motion:
    """Return the image deformed as if drawn on rubber, bilinearly interpolated.

        y(p) = x(p + d(p)),    d = alpha / 2 (G_sigma * noise),    noise white, of variance 1/3

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        alpha: the strength, at least 0: twice what the displacement would be in pixels without smoothing.
        sigma: the standard deviation of the Gaussian that smooths the displacement, in pixels, at least 0.
        padding_mode: what lies outside the image: "constant" (fill), "reflect" (mirrored about the outermost
            pixels, which are not repeated) or "edge" (the outermost pixels).
        fill: the value outside for "constant", in [0, 1]; within a pixel of the frame it blends with the
            image.
        mask_fill: the label outside for "constant", in masks.

    Returns:
        An image of the same shape and dtype, interpolated in float32. Keypoints, and the corners of boxes,
        go to the p with p + d(p) where they were, found by fixed-point iteration: to 0.01 pixels as long as d
        changes by less than 0.7 pixels from one pixel to the next, beyond which the picture begins to fold and
        there is more than one such p.

    Raises:
        ValueError: alpha or sigma negative or not finite; another padding_mode; fill outside [0, 1];
            mask_fill no integer.

    Source:
        Simard et al. 2003 (Best practices for convolutional neural networks applied to visual document analysis),
        section 2, with alpha and sigma as in torchvision's ElasticTransform (whose noise is uniform on (-1, 1), pixel
        by pixel; this one is so wave by wave); values as its `elastic`; the field's covariance is that of
        scipy.ndimage's gaussian_filter(mode="reflect").
    """
    fix = "torchvision's defaults are 50 and 5."
    alpha = number("elastic", "alpha of at least 0", alpha, lambda a: 0 <= a < math.inf, fix)
    sigma = number("elastic", "sigma of at least 0", sigma, lambda s: 0 <= s < math.inf, fix)
    expect(sigma <= 1000, "elastic", "sigma of at most 1000 pixels", sigma, fix)
    outside = outside_of("elastic", padding_mode, fill, mask_fill)
    right, down = displacement(key, frame, alpha=alpha, sigma=sigma)
    # Without the barrier each gather computes its coordinates anew: of 512 32x32x3 images on CPU that took x1.5.
    y, x = jax.lax.optimization_barrier((jnp.arange(frame[0])[:, None] + down, jnp.arange(frame[1])[None, :] + right))

    def points(xy: jax.Array) -> jax.Array:
        moves = jnp.stack([right, down], -1)

        def step(_: int, place: jax.Array) -> jax.Array:
            column, row = place.T - 0.5
            return xy - bilinear(moves, row, column, padding_mode="edge", fill=0.0)

        return jax.lax.fori_loop(0, _ITERATIONS, step, xy)

    return resampling(y, x, points, outside=outside)


def displacement(key: jax.Array, frame: tuple[int, int], *, alpha: float, sigma: float) -> jax.Array:
    """Return the field d of `elastic`, float32 (2, H, W): how far to the right, and below, each pixel is fetched."""
    # White noise is white in every orthonormal basis: drawn in that of the smoothing, only the few waves that the
    # smoothing leaves are drawn at all (of 32x32 pixels at sigma=5, 49 instead of 1024), two of a word of 32 bits.
    rows, columns = (_waves(size, sigma) for size in frame)
    words = jax.random.bits(key, (rows.shape[1], columns.shape[1]), jnp.uint32)
    noise = (jnp.stack([words >> 16, words & 0xFFFF]).astype(jnp.float32) + 0.5) / 2**15 - 1
    wide = jnp.einsum("xl,ckl->ckx", columns, noise, precision="highest")
    return alpha / 2 * jnp.einsum("yk,ckx->cyx", rows, wide, precision="highest")


def _waves(size: int, sigma: float) -> np.ndarray:
    """Return A (size, n) so that A z, z white, is distributed as white noise smoothed by a Gaussian, mirrored.

    Its columns are the orthonormal cosines (DCT-II), each times what the smoothing leaves of it: 1 % at least.
    """
    radius = int(8 * sigma + 1) // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2) if radius else np.ones(1)
    wave, place = np.pi * np.arange(size) / size, np.arange(size) + 0.5
    left = np.cos(np.outer(wave, np.arange(-radius, radius + 1))) @ (weights / weights.sum())
    scale = left * np.where(wave > 0, math.sqrt(2 / size), math.sqrt(1 / size))
    return np.asarray((scale * np.cos(np.outer(place, wave)))[:, np.abs(left) >= 0.01], np.float32)
