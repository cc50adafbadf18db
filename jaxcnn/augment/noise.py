"""Noise added to an image."""

import math

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import augmentation
from jaxcnn.checking import number
from jaxcnn.functional.primitives.random_bits import random_bits

__all__ = ["noise"]


@augmentation
def noise(key: jax.Array, image: jax.Array, *, std: float) -> jax.Array:
    """Return the image with Gaussian noise added, independent for each value.

        y = clip(x + std z, 0, 1),    z standard normal

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        std: the standard deviation in the image's unit (1 is white), finite, at least 0.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: std not finite or below 0.

    Source:
        torchvision's GaussianNoise with clip=True. z is one of 65536 quantiles of the normal distribution, none
        beyond 4.3.
    """
    fix = "Pass it in the image's unit, 1 being white."
    std = number("noise", "std of at least 0", std, lambda s: 0 <= s < math.inf, fix)
    # For 512 32x32x3 images on CPU `jax.random.normal` took x7, nearly all for its bits.
    halves = random_bits(key, jnp.uint16, image.shape)
    z = math.sqrt(2) * jax.lax.erf_inv((halves.astype(jnp.float32) + 0.5) / 32768 - 1)
    return jnp.clip(image.astype(jnp.float32) + std * z, 0, 1).astype(image.dtype)
