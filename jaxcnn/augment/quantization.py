"""Fewer levels: images of 8 bits with some of them set to zero."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import whole_interval

__all__ = ["levels", "posterize", "posterized"]


@augmentation
def posterize(key: jax.Array, image: jax.Array, *, bits: int | tuple[int, int]) -> jax.Array:
    """Return the image with all but the highest bits of its values, rounded to 8 bits, set to zero.

        y = 2^(8-b) floor(k / 2^(8-b)) / 255,    k = round(255 x),    b uniform on {low, ..., high}

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        bits: how many are kept, 1 to 8: an interval (low, high), or one number. 8 leaves images of 8 bits as
            they are.

    Returns:
        An image of the same shape and dtype, in [0, 1]. Its gradient is zero.

    Raises:
        ValueError: bits not whole, outside 1..8 or in the wrong order.

    Source:
        PIL's `ImageOps.posterize` and, on uint8 images, torchvision's `posterize`, exactly.
    """
    low, high = whole_interval("posterize", "bits from 1 to 8", bits, 1, 8)
    return posterized(image, jax.random.randint(key, (), low, high + 1))


def posterized(image: jax.Array, bits: jax.Array) -> jax.Array:
    """Return the image with the highest `bits` bits of its values, int32 in 0..8."""
    dropped = 8 - bits
    return ((levels(image) >> dropped << dropped).astype(jnp.float32) / 255).astype(image.dtype)


def levels(image: jax.Array) -> jax.Array:
    """Return the values of an image in [0, 1] as those of 8 bits, int32 in 0..255."""
    return jnp.round(image.astype(jnp.float32) * 255).astype(jnp.int32)
