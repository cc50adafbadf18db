"""Blur and sharpness: what mixes a pixel with its neighbours."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxcnn.augment.blending import blend, factors
from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import interval
from jaxcnn.checking import expect, is_int, shown

__all__ = ["blur", "sharpen", "smoothed"]

MOST = 255  # pixels of a kernel: there is an operation for each


@augmentation
def blur(
    key: jax.Array, image: jax.Array, *, sigma: tuple[float, float] = (0.1, 2.0), size: int | None = None
) -> jax.Array:
    """Return the image blurred by a Gaussian of random width.

        y[i, j] = sum_{u, v} w[u] w[v] x[i + u, j + v],    w[u] ~ exp(-u^2 / (2 s^2)),    s uniform on sigma

    with u and v from -(size - 1) / 2 to (size - 1) / 2 and the image mirrored about its outermost pixels, which
    are not repeated.

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        sigma: the interval (low, high) of the standard deviation in pixels, low > 0.
        size: of the kernel in pixels, odd; None stands for three standard deviations to each side, at most.

    Returns:
        An image of the same shape and dtype, in [0, 1], summed in float32.

    Raises:
        ValueError: bounds not finite, not above 0 or in the wrong order; size even, not whole or below 1.

    Source:
        torchvision's GaussianBlur(size, sigma), within 1e-5, and `scipy.ndimage.gaussian_filter` with
        mode="mirror" and radius=(size - 1) / 2.
    """
    low, high = interval("blur", "sigma", sigma)
    expect(low > 0, "blur", "sigma above 0", (low, high), "Pass (low, high) in pixels.")
    size = 2 * math.ceil(3 * high) + 1 if size is None else size
    ok = is_int(size, 1) and int(size) % 2 == 1
    expect(ok, "blur", "size as an odd number of pixels", shown(size), "Pass 3, 5, 7, ..., or None.")
    size = int(size)
    expect(size <= MOST, "blur", f"a kernel of at most {MOST} pixels", size, "Pass a size or a smaller sigma.")
    s = jax.random.uniform(key, (), jnp.float32, low, high)
    weights = jnp.exp(-0.5 * ((jnp.arange(size) - size // 2) / s) ** 2)
    weights /= jnp.sum(weights)
    y = _filtered(image.astype(jnp.float32), weights, 0)
    # Without the barrier XLA repeats the first sum for every term of the second. Of 512 32x32x3 images on CPU, at
    # sigma=2, that took x2.5; products with matrices as large as the image x1.05, and more for larger images.
    y = _filtered(jax.lax.optimization_barrier(y), weights, 1)
    return jnp.clip(y, 0, 1).astype(image.dtype)


def _filtered(image: jax.Array, weights: jax.Array, axis: int) -> jax.Array:
    margin, length = len(weights) // 2, image.shape[axis]
    padded = jnp.pad(image, [(margin, margin) if a == axis else (0, 0) for a in range(3)], "reflect")
    moved = (jax.lax.slice_in_dim(padded, at, at + length, axis=axis) for at in range(len(weights)))
    return functools.reduce(jnp.add, (weight * part for weight, part in zip(weights, moved, strict=True)))


@augmentation
def sharpen(key: jax.Array, image: jax.Array, *, factor: tuple[float, float]) -> jax.Array:
    """Return the image with the differences from a smoother one multiplied by one random factor.

        y = clip(s + f (x - s), 0, 1),    s = x filtered by (1 1 1; 1 5 1; 1 1 1) / 13,    f uniform on factor

    The outermost pixels, of which the filter would need more than there is, stay as they are.

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        factor: the interval (low, high), low >= 0: 0 leaves the smoother image, 1 the image as it is, above 1
            it is sharpened.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bounds not finite, below 0 or in the wrong order.

    Source:
        PIL's `ImageEnhance.Sharpness`, but for its rounding to 8 bits, and torchvision's `adjust_sharpness`, within
        1e-5.
    """
    low, high = factors("sharpen", factor)
    return blend(image, smoothed(image), jax.random.uniform(key, (), jnp.float32, low, high))


def smoothed(image: jax.Array) -> jax.Array:
    """Return the image, float32, filtered by (1 1 1; 1 5 1; 1 1 1) / 13 but for its outermost pixels."""
    x = image.astype(jnp.float32)
    height, width, _ = x.shape
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    around = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    row, column = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return jnp.where(inside, (around + 4 * x) / 13, x)
